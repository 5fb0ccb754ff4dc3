"""machine: the computer that promoter runs on: its processes, folders, names of files, signals, and what runs out."""
