"""Makes the recommender's models: the DSSM towers (recall) and DIN (ranking). Needs torch; serving never imports this."""
