"""Score a corpus: many files of texts in, parquet of answers out."""
