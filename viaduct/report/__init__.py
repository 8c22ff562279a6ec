"""Tables, figures and the page, from result rows only."""
