"""Case 1, the recommender: recall (DSSM), ranking (DIN), re-ranking, online features."""
