"""Parts of the schema generator, one for each part of an Olive configuration."""
