"""The simulated air and the one timeline of everything that happens in a simulated house."""
