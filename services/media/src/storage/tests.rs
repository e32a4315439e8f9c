use std::sync::atomic::{AtomicUsize, Ordering};

use futures::TryStreamExt;
use test_kit::gcs_double::{self, GcsDouble};

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

#[tokio::test]
async fn what_a_power_cut_has_left_is_not_taken_for_the_bytes() {
    let data = folder();
    let storage = open(&data, 0);
    let content = || Content::Memory(vec![Bytes::from_static(b"all of it")]);
    storage.put(&key(1), content()).await.unwrap();
    let file = storage.folder.clone().unwrap().join(key(1).path().as_ref());
    for left in [&b""[..], b"all of ", b"all of \0\0"] {
        std::fs::write(&file, left).unwrap();
        storage.put(&key(1), content()).await.unwrap();
        assert_eq!(storage.read(&key(1)).await.unwrap(), "all of it", "{left:?}");
        std::fs::write(&file, left).unwrap();
        let arrived = storage.incoming();
        std::fs::write(&arrived, b"all of it").unwrap();
        storage.put(&key(1), Content::File(arrived)).await.unwrap();
        assert_eq!(storage.read(&key(1)).await.unwrap(), "all of it", "{left:?}");
    }
    // Many at once are settled by another call.
    let keys: Vec<Key> = (10..30).map(key).collect();
    let objects = keys.iter().map(|key| (key.clone(), content())).collect();
    storage.put_unsettled(objects).await.unwrap();
    storage.settle(&keys).await.unwrap();
    storage.delete(&keys).await.unwrap();
    // What was never put cannot be settled.
    assert!(storage.settle(&[key(99)]).await.is_err());
    std::fs::remove_dir_all(data).unwrap();
}

#[tokio::test]
async fn a_write_that_fails_is_not_the_end_of_the_others() {
    let ended = AtomicUsize::new(0);
    let works = (0..20).map(|number| {
        let ended = &ended;
        async move {
            // The first to fail is not the last to end.
            tokio::time::sleep(Duration::from_millis(if number == 3 { 0 } else { 20 })).await;
            ended.fetch_add(1, Ordering::Relaxed);
            if number == 3 { Err(number) } else { Ok(()) }
        }
    });
    assert_eq!(all_of(works).await, Err(3));
    assert_eq!(ended.into_inner(), 20);
}

#[tokio::test]
async fn the_same_bytes_from_many_at_once_are_there_whole() {
    let data = folder();
    let storage = open(&data, 0);
    let bytes = Bytes::from(vec![7; 300_000]);
    let puts = (0..30).map(async |_| {
        let content = Content::Memory(vec![bytes.clone(), bytes.clone()]);
        storage.put(&key(1), content).await.unwrap();
        assert_eq!(storage.read(&key(1)).await.unwrap(), bytes.repeat(2));
    });
    futures::future::join_all(puts).await;
    assert!(std::fs::read_dir(data.join("media/incoming")).unwrap().next().is_none());
    std::fs::remove_dir_all(data).unwrap();
}

fn s3(endpoint: &str, keys: (&str, &str), bucket: &str) -> settings::Storage {
    let keys = Some((keys.0.to_owned(), keys.1.to_owned()));
    let place = settings::Place::S3(settings::S3 {
        bucket: bucket.to_owned(),
        region: None,
        keys,
        endpoint: Some(endpoint.to_owned()),
        folder: test_kit::servers::short_folder(),
    });
    settings::Storage { place, free_bytes_min: 0 }
}

/// The server of `infra/s3`, when the run has one.
fn server() -> Option<(String, (String, String), String)> {
    let Some(server) = test_kit::servers::bucket() else {
        println!("skipped: TEST_S3 names no server (infra/s3)");
        return None;
    };
    let of = |name: &str| server.variable(&format!("STORAGE_AWS_{name}")).to_owned();
    Some((of("ENDPOINT_URL"), (of("ACCESS_KEY_ID"), of("SECRET_ACCESS_KEY")), of("BUCKET_NAME")))
}

#[tokio::test]
async fn a_bucket_that_says_no_stops_the_start_and_names_the_variable() {
    let Some((endpoint, (id, secret), bucket)) = server() else { return };
    let data = folder();
    for (id, secret, bucket, named) in [
        (id.as_str(), "wrong", bucket.as_str(), "STORAGE_AWS_SECRET_ACCESS_KEY"),
        ("nobody", &secret, &bucket, "STORAGE_AWS_ACCESS_KEY_ID"),
        (&id, &secret, "no-such-bucket", "STORAGE_AWS_BUCKET_NAME"),
    ] {
        let storage = Storage::open(&data, &s3(&endpoint, (id, secret), bucket)).unwrap();
        let said = storage.check_at_start().await.unwrap_err().to_string();
        println!("{said}");
        assert!(said.contains(named) && !said.contains('\n') && !said.contains(secret), "{said}");
        assert!(storage.check_writes().await.is_err());
    }
    let storage = Storage::open(&data, &s3(&endpoint, (&id, &secret), &bucket)).unwrap();
    storage.check_at_start().await.unwrap();
    storage.check_writes().await.unwrap();
    std::fs::remove_dir_all(data).unwrap();
}

#[tokio::test]
async fn a_bucket_that_does_not_answer_is_no_reason_not_to_start() {
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let gone = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let data = folder();
    for address in [silent.local_addr().unwrap(), gone] {
        let settings = s3(&format!("http://{address}"), ("key", "secret"), "pictures");
        let storage = Storage::open_patiently(&data, &settings, Duration::from_millis(300)).unwrap();
        let began = std::time::Instant::now();
        storage.check_at_start().await.unwrap();
        assert!(storage.check_writes().await.is_err());
        let content = Content::Memory(vec![Bytes::from_static(b"x")]);
        assert!(storage.put(&key(1), content).await.is_err());
        let file = storage.incoming();
        std::fs::write(&file, vec![1; 9_000_000]).unwrap();
        assert!(storage.put(&key(2), Content::File(file.clone())).await.is_err());
        assert!(storage.read(&key(1)).await.is_err());
        std::fs::remove_file(file).unwrap();
        assert!(began.elapsed() < Duration::from_secs(20), "{address}: {:?}", began.elapsed());
    }
    std::fs::remove_dir_all(data).unwrap();
}

/// How much memory this process takes, in MiB.
fn memory() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or("0");
    line.split_whitespace().next().unwrap().parse::<u64>().unwrap() / 1024
}

#[tokio::test]
async fn a_large_file_is_never_all_in_memory() {
    let Some((endpoint, (id, secret), bucket)) = server() else { return };
    let data = folder();
    let storage = Storage::open(&data, &s3(&endpoint, (&id, &secret), &bucket)).unwrap();
    let file = storage.incoming();
    let size: u64 = 300 * 1024 * 1024;
    std::fs::File::create(&file).unwrap().set_len(size).unwrap();
    let before = memory();
    let most = Arc::new(std::sync::atomic::AtomicU64::new(0));
    let watch = {
        let most = most.clone();
        async move {
            loop {
                most.fetch_max(memory(), std::sync::atomic::Ordering::Relaxed);
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        }
    };
    let work = async {
        storage.put(&key(1), Content::File(file.clone())).await.unwrap();
        let mut pieces = storage.stream(&key(1), None).await.unwrap();
        let mut read = 0;
        while let Some(piece) = pieces.try_next().await.unwrap() {
            read += piece.len() as u64;
        }
        assert_eq!(read, size);
    };
    tokio::select! { () = work => {} () = watch => {} }
    let grown = most.load(std::sync::atomic::Ordering::Relaxed).saturating_sub(before);
    println!("300 MiB to a bucket and back took {grown} MiB");
    // Alone it takes a tenth of the file; what other tests hold at the same time counts too.
    assert!(grown < 200, "{grown} MiB");
    storage.delete(&[key(1)]).await.unwrap();
    std::fs::remove_dir_all(data).unwrap();
}

fn gcs(double: &GcsDouble, credentials: &FilePath, bucket: &str) -> settings::Storage {
    let place = settings::Place::Gcs(settings::Gcs {
        bucket: bucket.to_owned(),
        credentials_file: Some(credentials.to_str().unwrap().to_owned()),
        endpoint: Some(double.endpoint.clone()),
        folder: "below/here".to_owned(),
    });
    settings::Storage { place, free_bytes_min: 0 }
}

#[tokio::test]
async fn googles_storage_keeps_reads_lists_and_deletes() {
    let data = folder();
    let double = GcsDouble::start(&data).await;
    let storage = Storage::open(&data, &gcs(&double, &double.credentials, gcs_double::BUCKET)).unwrap();
    storage.check_at_start().await.unwrap();
    storage.check_writes().await.unwrap();
    let content = || Content::Memory(vec![Bytes::from_static(b"0123"), Bytes::from_static(b"456789")]);
    storage.put(&key(1), content()).await.unwrap();
    storage.put(&key(1), content()).await.unwrap();
    assert_eq!(storage.read(&key(1)).await.unwrap(), "0123456789");
    let part: Vec<Bytes> = storage.stream(&key(1), Some(3..6)).await.unwrap().try_collect().await.unwrap();
    assert_eq!(part.concat(), b"345");
    // In several parts.
    let file = storage.incoming();
    let large: Vec<u8> = (0..20_000_000_u32).map(|number| number as u8).collect();
    std::fs::write(&file, &large).unwrap();
    storage.put(&key(2), Content::File(file)).await.unwrap();
    let read: Vec<Bytes> = storage.stream(&key(2), None).await.unwrap().try_collect().await.unwrap();
    assert!(read.concat() == large && double.open_uploads() == 0);
    // More pieces than a page of the list has.
    let upload = event_store::new_id();
    for name in ["0", "10", "20", "30", "40"] {
        let piece = Key::Piece(TenantId::DEPLOYMENT, upload, name.to_owned());
        storage.put(&piece, Content::Memory(vec![Bytes::from_static(b"x")])).await.unwrap();
    }
    assert_eq!(double.objects().len(), 7);
    assert!(double.objects().iter().all(|name| name.starts_with("below/here/t/")));
    storage.delete_pieces(TenantId::DEPLOYMENT, upload).await.unwrap();
    assert_eq!(double.objects().len(), 2);
    storage.delete(&[key(1), key(2), key(3)]).await.unwrap();
    assert!(matches!(storage.read(&key(1)).await, Err(StorageError::Missing(_))));
    assert!(double.objects().is_empty());
    std::fs::remove_dir_all(data).unwrap();
}

#[tokio::test]
async fn googles_storage_that_says_no_stops_the_start_and_names_the_variable() {
    let data = folder();
    let double = GcsDouble::start(&data).await;
    let forged = double.forged();
    for (credentials, bucket, named) in [
        (&forged, gcs_double::BUCKET, "GOOGLE_APPLICATION_CREDENTIALS"),
        (&double.credentials, "no-such-bucket", "STORAGE_GCS_BUCKET_NAME"),
    ] {
        let storage = Storage::open(&data, &gcs(&double, credentials, bucket)).unwrap();
        let said = storage.check_at_start().await.unwrap_err().to_string();
        assert!(said.contains(named) && !said.contains('\n') && !said.contains("PRIVATE"), "{said}");
        assert!(storage.check_writes().await.is_err());
    }
    std::fs::remove_dir_all(data).unwrap();
}
