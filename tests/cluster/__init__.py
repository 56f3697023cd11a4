"""Several servers over one database, as real processes: what is promised holds while they are killed."""
