"""Result rows and the store they live in."""
