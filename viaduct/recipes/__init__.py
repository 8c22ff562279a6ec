"""The recipes that come with Viaduct: `viaduct recipes` lists them, `viaduct run NAME` runs one."""
