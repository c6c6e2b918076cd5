"""How time and memory grow with the length of a text and with what an example is put through."""
