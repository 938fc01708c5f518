"""Fields that an administrator adds at run time, with a complete declaration."""
