//! What operators copy from `deploy/`, loaded, rendered, validated or run: none of it can rot unnoticed.

mod monitoring;
