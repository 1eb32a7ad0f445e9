"""How well memory is found again: made-up conversations and documents with known evidence, asked through the API."""
