"""Venturi: one OpenAI-compatible endpoint for Mistral Small 4, two speeds."""
