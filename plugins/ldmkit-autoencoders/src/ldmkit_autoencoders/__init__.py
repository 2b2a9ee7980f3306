"""KL, VQ and identity compression models and their losses."""
