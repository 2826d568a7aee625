"""The int8 edition of a bundle, in OpenVINO's own format."""
