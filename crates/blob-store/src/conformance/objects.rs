//! Promises about single objects: put, head, get, list.

use std::collections::BTreeMap;
use std::io;

use bytes::Bytes;
use futures_util::future::join_all;
use futures_util::{StreamExt, stream};

use super::{Outcome, Promise, Site, bytes, ensure, fails, options, same, text};
use crate::{Body, ErrorKind, PutOptions};

pub(super) const PROMISES: &[Promise] = &[
    Promise("bucket-there", "a bucket that is there passes the check", |site| Box::pin(bucket_there(site))),
    Promise("put-get", "what was put comes back byte for byte", |site| Box::pin(put_get(site))),
    Promise("streamed-put", "a body of many slices arrives whole and in order", |site| {
        Box::pin(streamed_put(site))
    }),
    Promise("empty-object", "an object may be empty", |site| Box::pin(empty_object(site))),
    Promise("odd-keys", "a key keeps every character that a key of ours can hold", |site| {
        Box::pin(odd_keys(site))
    }),
    Promise("metadata", "type, encoding and metadata come back with head and get", |site| {
        Box::pin(metadata(site))
    }),
    Promise("metadata-2kb", "metadata of nearly 2 KB is kept", |site| Box::pin(metadata_2kb(site))),
    Promise("put-if-absent", "a conditional put on a taken key is refused and changes nothing", |site| {
        Box::pin(put_if_absent(site))
    }),
    Promise("one-winner", "of eight racing conditional puts exactly one is stored", |site| {
        Box::pin(one_winner(site))
    }),
    Promise("wrong-crc-refused", "bytes that are not the checksum's are refused and not stored", |site| {
        Box::pin(wrong_crc_refused(site))
    }),
    Promise("crc-kept", "a head gives back the checksum an object was put with", |site| {
        Box::pin(crc_kept(site))
    }),
    Promise("broken-body", "a body that fails, ends early or runs over stores nothing", |site| {
        Box::pin(broken_body(site))
    }),
    Promise("absent", "head and get of an absent key say so", |site| Box::pin(absent(site))),
    Promise("range", "a get of a range gives just that range and the object's length", |site| {
        Box::pin(range(site))
    }),
    Promise(
        "discard",
        "what tried the store out is gone once it is removed, and may be gone before",
        |site| Box::pin(discard(site)),
    ),
    Promise("versions", "where there are versions, each can be read by its name", |site| {
        Box::pin(versions(site))
    }),
    Promise("list-pages", "a listing is sorted, complete and goes on after any key", |site| {
        Box::pin(list_pages(site))
    }),
];

async fn bucket_there(site: Site) -> Outcome {
    site.store.check().await.map_err(text)
}

async fn put_get(site: Site) -> Outcome {
    let sent = bytes(100_000, 1);
    let stored = site.put("a", &sent, &options(&sent)).await.map_err(text)?;
    let info = site.store.head(&site.key("a"), None).await.map_err(text)?;
    same("the length", &info.length, &Some(100_000))?;
    same("the entity tag", &info.etag, &stored.etag)?;
    ensure(info.last_modified.is_some(), || "no time of storing".into())?;
    same("the content", &site.read("a").await?, &sent)
}

async fn streamed_put(site: Site) -> Outcome {
    // Slices of every awkward size: empty, single bytes, larger than any buffer on the way.
    let sent = bytes(3_000_000, 2);
    let mut rest = sent.clone();
    let mut slices = vec![Bytes::new()];
    for len in [1, 0, 65_536, 1_100_000, 7, 262_144, 262_145] {
        slices.push(rest.split_to(len));
    }
    slices.push(rest);
    let body = Body::from_slices(slices);
    site.store.put_if_absent(&site.key("a"), body, &options(&sent)).await.map_err(text)?;
    same("the content", &site.read("a").await?, &sent)
}

async fn empty_object(site: Site) -> Outcome {
    site.put("a", &Bytes::new(), &options(b"")).await.map_err(text)?;
    same("the length", &site.store.head(&site.key("a"), None).await.map_err(text)?.length, &Some(0))?;
    same("the content", &site.read("a").await?, &Bytes::new())
}

async fn odd_keys(site: Site) -> Outcome {
    let names =
        ["dt=2026-11-21/h=07/x.jsonl.zst", "sp ace", "plus+&=;@$,", "per%2Fcent%", "ümlaut-日本", "a//b"];
    for name in names {
        let sent = Bytes::from(name.to_owned());
        site.put(name, &sent, &options(&sent)).await.map_err(text)?;
        same("the content", &site.read(name).await?, &sent)?;
    }
    let page = site.store.list(&site.key(""), None, 100).await.map_err(text)?;
    let mut wanted: Vec<_> = names.iter().map(|name| site.key(name)).collect();
    wanted.sort();
    same("the listing", &page.objects.into_iter().map(|object| object.key).collect(), &wanted)
}

async fn metadata(site: Site) -> Outcome {
    let put = PutOptions {
        content_type: "application/x-ndjson".into(),
        content_encoding: Some("zstd".into()),
        metadata: vec![("sluicegate-cut".into(), "a-b_c.1".into()), ("other".into(), "x y=z;".into())],
        ..options(b"x")
    };
    site.put("a", &Bytes::from_static(b"x"), &put).await.map_err(text)?;
    let head = site.store.head(&site.key("a"), None).await.map_err(text)?;
    let get = site.store.get(&site.key("a"), None, None).await.map_err(text)?.info;
    for info in [head, get] {
        same("the type", &info.content_type.as_deref(), &Some("application/x-ndjson"))?;
        same("the encoding", &info.content_encoding.as_deref(), &Some("zstd"))?;
        same("the metadata", &info.metadata, &put.metadata.iter().cloned().collect())?;
    }
    Ok(())
}

async fn metadata_2kb(site: Site) -> Outcome {
    let metadata: Vec<_> = (0..19).map(|n| (format!("name-{n:02}"), "v".repeat(100))).collect();
    let put = PutOptions { metadata, ..options(b"x") };
    site.put("a", &Bytes::from_static(b"x"), &put).await.map_err(text)?;
    let info = site.store.head(&site.key("a"), None).await.map_err(text)?;
    same("the metadata", &info.metadata, &put.metadata.into_iter().collect())
}

async fn put_if_absent(site: Site) -> Outcome {
    let (first, second) = (bytes(1000, 3), bytes(1000, 4));
    site.put("a", &first, &options(&first)).await.map_err(text)?;
    let again = site.put("a", &second, &options(&second)).await;
    fails("a second conditional put", again, &[ErrorKind::PreconditionFailed])?;
    same("the content", &site.read("a").await?, &first)?;
    let large = bytes(9_000_000, 5);
    let again = site.put("a", &large, &options(&large)).await;
    fails("a large conditional put", again, &[ErrorKind::PreconditionFailed])?;
    same("the content", &site.read("a").await?, &first)
}

async fn one_winner(site: Site) -> Outcome {
    for round in 0..5_u32 {
        let name = format!("a{round}");
        let racers: Vec<_> = (0..8).map(|racer| bytes(50_000, 100 * round + racer)).collect();
        let race = racers.iter().map(|sent| {
            let (site, name, sent) = (site.clone(), name.clone(), sent.clone());
            tokio::spawn(async move { site.put(&name, &sent, &options(&sent)).await })
        });
        let mut winners = Vec::new();
        for (racer, outcome) in join_all(race).await.into_iter().enumerate() {
            match outcome.map_err(text)? {
                Ok(_) => winners.push(racer),
                lost => fails(
                    "a losing put",
                    lost,
                    &[ErrorKind::PreconditionFailed, ErrorKind::ConditionalConflict],
                )?,
            }
        }
        ensure(winners.len() == 1, || format!("{} of 8 were stored", winners.len()))?;
        same("the content", &site.read(&name).await?, &racers[winners[0]])?;
    }
    Ok(())
}

async fn wrong_crc_refused(site: Site) -> Outcome {
    let sent = bytes(10_000, 6);
    let put = PutOptions { crc32c: options(&sent).crc32c ^ 1, ..options(&sent) };
    fails("a put of other bytes", site.put("a", &sent, &put).await, &[ErrorKind::Body])?;
    fails("a head after it", site.store.head(&site.key("a"), None).await, &[ErrorKind::NoSuchKey])
}

async fn discard(site: Site) -> Outcome {
    let sent = bytes(100, 12);
    site.put("a", &sent, &options(&sent)).await.map_err(text)?;
    for _ in 0..2 {
        site.store.discard(&site.key("a")).await.map_err(text)?;
    }
    fails("a head after it", site.store.head(&site.key("a"), None).await, &[ErrorKind::NoSuchKey])
}

async fn crc_kept(site: Site) -> Outcome {
    let sent = bytes(10_000, 7);
    site.put("a", &sent, &options(&sent)).await.map_err(text)?;
    let info = site.store.head(&site.key("a"), None).await.map_err(text)?;
    same("the checksum", &info.crc32c, &Some(options(&sent).crc32c))
}

async fn broken_body(site: Site) -> Outcome {
    let sent = bytes(400_000, 8);
    let first = sent.slice(..200_000);
    let reset = || Err(io::Error::other("our disk failed"));
    let bodies: [(&str, Body); 4] = [
        ("fails", Body::from_stream(400_000, stream::iter([Ok(first.clone()), reset()]))),
        ("ends-early", Body::from_stream(400_000, stream::iter([Ok(first.clone())]))),
        ("runs-over", Body::from_stream(200_000, stream::iter([Ok(first.clone()), Ok(first.clone())]))),
        ("is-not-empty", Body::from_stream(0, stream::iter([Ok(first)]))),
    ];
    for (name, body) in bodies {
        let put = site.store.put_if_absent(&site.key(name), body, &options(&sent)).await;
        fails(&format!("a put whose body {name}"), put, &[ErrorKind::Body])?;
        fails("a head after it", site.store.head(&site.key(name), None).await, &[ErrorKind::NoSuchKey])?;
    }
    Ok(())
}

async fn absent(site: Site) -> Outcome {
    fails("a head", site.store.head(&site.key("a"), None).await, &[ErrorKind::NoSuchKey])?;
    fails("a get", site.store.get(&site.key("a"), None, None).await, &[ErrorKind::NoSuchKey])
}

async fn range(site: Site) -> Outcome {
    let sent = bytes(100_000, 9);
    site.put("a", &sent, &options(&sent)).await.map_err(text)?;
    for (start, end) in [(0, 1), (99_999, 100_000), (0, 100_000), (12_345, 54_321), (99_990, 200_000)] {
        let object = site.store.get(&site.key("a"), None, Some(start..end)).await.map_err(text)?;
        same("the object's length", &object.info.length, &Some(100_000))?;
        let wanted = sent.slice(start as usize..end.min(100_000) as usize);
        let got = Body::from_stream(wanted.len() as u64, object.body).collect().await.map_err(text)?;
        same("the range", &got, &wanted)?;
    }
    let beyond = site.store.get(&site.key("a"), None, Some(100_000..100_001)).await;
    fails("a range beyond the end", beyond, &[ErrorKind::NeverValid])
}

async fn versions(site: Site) -> Outcome {
    let mut puts = Vec::new();
    for seed in [10, 11] {
        let sent = bytes(1000, seed);
        let put = PutOptions { conditional: false, ..options(&sent) };
        puts.push((site.put("a", &sent, &put).await.map_err(text)?.version_id, sent));
    }
    same("the newest content", &site.read("a").await?, &puts[1].1)?;
    for (version, sent) in puts {
        // A bucket without versions names none.
        let Some(version) = version else { continue };
        let info = site.store.head(&site.key("a"), Some(&version)).await.map_err(text)?;
        same("the version", &info.version_id.as_deref(), &Some(version.as_str()))?;
        let object = site.store.get(&site.key("a"), Some(&version), None).await.map_err(text)?;
        let got = Body::from_stream(1000, object.body).collect().await.map_err(text)?;
        same("a version's content", &got, &sent)?;
    }
    Ok(())
}

async fn list_pages(site: Site) -> Outcome {
    let mut wanted = BTreeMap::new();
    for n in 0..25_usize {
        let name = format!("{}/{n:02}", ["b", "a", "a-", "A"][n % 4]);
        let sent = bytes(n, 12);
        site.put(&name, &sent, &options(&sent)).await.map_err(text)?;
        wanted.insert(site.key(&name), n as u64);
    }
    let mut found = Vec::new();
    let mut after: Option<String> = None;
    loop {
        let page = site.store.list(&site.key(""), after.as_deref(), 10).await.map_err(text)?;
        ensure(page.objects.len() <= 10, || format!("a page has {} objects", page.objects.len()))?;
        after = page.objects.last().map(|object| object.key.clone()).or(after);
        found.extend(page.objects.into_iter().map(|object| (object.key, object.length)));
        ensure(found.len() <= 25, || "the pages repeat".into())?;
        if !page.truncated {
            break;
        }
    }
    same("the listing", &found, &wanted.into_iter().collect())?;
    let below = site.store.list(&site.key("a/"), None, 1000).await.map_err(text)?;
    same("the number below a prefix", &below.objects.len(), &6)?;
    let none = site.store.list(&site.key("none"), None, 1000).await.map_err(text)?;
    same("the number below no prefix", &(none.objects.len(), none.truncated), &(0, false))?;
    let mut pages = stream::iter(["a/05", "a/", "", "zz"]);
    while let Some(name) = pages.next().await {
        let after = site.key(name);
        let page = site.store.list(&site.key(""), Some(&after), 1000).await.map_err(text)?;
        ensure(page.objects.iter().all(|object| object.key > after), || {
            format!("a key up to {after} is listed")
        })?;
    }
    Ok(())
}
