"""Race the encoders against other engines and the machine's ceilings."""
