use futures::TryStreamExt;

use super::*;

fn folder() -> PathBuf {
    std::env::temp_dir().join(format!("annomesh-storage-{}", event_store::new_id().simple()))
}

fn open(folder: &FilePath, free_bytes_min: u64) -> Storage {
    let settings = settings::Storage { place: settings::Place::Folder, free_bytes_min };
    Storage::open(folder, &settings).unwrap()
}

fn key(first: u8) -> Key {
    Key::Blob(TenantId::DEPLOYMENT, [first; 32])
}

#[tokio::test]
async fn what_is_put_is_read_whole_and_in_part() {
    let data = folder();
    let storage = open(&data, 0);
    let parts = vec![Bytes::from_static(b"0123"), Bytes::from_static(b"456789")];
    storage.put(&key(1), Content::Memory(parts)).await.unwrap();
    let file = storage.incoming();
    std::fs::write(&file, b"from a file").unwrap();
    storage.put(&key(2), Content::File(file.clone())).await.unwrap();
    storage.put(&key(2), Content::File(file)).await.unwrap();
    assert_eq!(storage.read(&key(1)).await.unwrap(), "0123456789");
    assert_eq!(storage.read(&key(2)).await.unwrap(), "from a file");
    let part: Vec<Bytes> = storage.stream(&key(1), Some(3..6)).await.unwrap().try_collect().await.unwrap();
    assert_eq!(part.concat(), b"345");
    storage.delete(&[key(1), key(2), key(3)]).await.unwrap();
    assert!(matches!(storage.read(&key(1)).await, Err(StorageError::Missing(_))));
    std::fs::remove_dir_all(data).unwrap();
}

#[tokio::test]
async fn pieces_go_together() {
    let data = folder();
    let storage = open(&data, 0);
    let upload = event_store::new_id();
    for name in ["0", "10"] {
        let piece = Key::Piece(TenantId::DEPLOYMENT, upload, name.to_owned());
        storage.put(&piece, Content::Memory(vec![Bytes::from_static(b"x")])).await.unwrap();
    }
    storage.delete_pieces(TenantId::DEPLOYMENT, upload).await.unwrap();
    let gone = Key::Piece(TenantId::DEPLOYMENT, upload, "10".to_owned());
    assert!(matches!(storage.read(&gone).await, Err(StorageError::Missing(_))));
    storage.delete_pieces(TenantId::DEPLOYMENT, upload).await.unwrap();
    std::fs::remove_dir_all(data).unwrap();
}

#[tokio::test]
async fn a_disk_that_must_keep_more_than_it_has_is_full() {
    let data = folder();
    assert!(open(&data, 0).check_room(1).is_ok());
    assert!(matches!(open(&data, u64::MAX).check_room(1), Err(StorageError::Full)));
    assert!(matches!(open(&data, 0).check_room(u64::MAX), Err(StorageError::Full)));
    std::fs::remove_dir_all(data).unwrap();
}
