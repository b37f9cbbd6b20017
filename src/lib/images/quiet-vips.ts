/** Imported before sharp: damage in a picture is told by our errors, and not by lines that libvips writes to stderr. */
process.env.VIPS_WARNING ??= '1';
