//! stub
use std::path::Path;
/// stub
#[derive(Debug, thiserror::Error)]
pub enum ServeError {}
impl ServeError {
    /// stub
    pub fn is_bad_configuration(&self) -> bool {
        false
    }
}
/// stub
pub fn run(_: &Path, _: fn(&str) -> Option<String>) -> Result<(), ServeError> {
    Ok(())
}
