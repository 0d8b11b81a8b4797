"""The paper's claims in numbers."""
