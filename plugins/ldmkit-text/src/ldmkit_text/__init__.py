"""Text transformer, pretrained text encoders, class and layout embeddings."""
