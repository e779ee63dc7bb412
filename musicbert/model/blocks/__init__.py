"""Parts of the backbones: embeddings, attention, feed-forward layers, compiled blocks."""
