"""The paper's claims as data, a module a kind of study."""
