"""Studies: a folder for each claim, with the script that makes its tables and what it rests on."""
