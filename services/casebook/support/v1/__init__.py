"""Generated from proto/ by infra/generate-protos.sh; not edited by hand."""
