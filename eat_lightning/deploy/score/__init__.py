"""Score a corpus: reads files of texts, and writes answers as parquet."""
