"""Every head's guesses, their replay under any point, the dial fitted on them, claims and timing."""
