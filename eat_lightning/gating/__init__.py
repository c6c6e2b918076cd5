"""File-type gating (EAT, section 10): complete files of known type, what they are made to claim,
and what other tools say of them."""
