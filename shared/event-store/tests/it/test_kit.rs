#[path = "../../../test-kit/src/database.rs"]
pub mod database;
#[path = "../../../test-kit/src/eventually.rs"]
pub mod eventually;
