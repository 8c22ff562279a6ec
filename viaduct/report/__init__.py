"""The report: its tables, figures and page, made from result rows only."""
