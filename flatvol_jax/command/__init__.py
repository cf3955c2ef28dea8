"""The console command `flatvol`: measures on files, from any folder."""
