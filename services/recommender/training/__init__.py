"""Makes the recommender's models: DSSM towers (recall) and DIN (ranking). Needs torch; serving never imports this."""
