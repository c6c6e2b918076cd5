"""Read and write weights: model folders, Hugging Face's names, finished runs, untrusted files."""
