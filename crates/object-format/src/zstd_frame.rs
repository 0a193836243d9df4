//! The header of a Zstandard frame (RFC 8878, 3.1.1), as far as it says how much memory the frame needs.

/// Bytes that hold every frame's header.
pub(crate) const HEADER_BYTES: usize = 18;

/// The window that the frame which begins with `head` needs, in bytes; `None` if `head` does not tell.
pub(crate) fn window_bytes(head: &[u8]) -> Option<u64> {
    let rest = head.strip_prefix(b"\x28\xb5\x2f\xfd")?;
    let (&descriptor, rest) = rest.split_first()?;
    let single_segment = descriptor & 1 << 5 != 0;
    if !single_segment {
        let window = rest.first()?;
        let base = 1u64 << (10 + (window >> 3));
        return Some(base + base / 8 * u64::from(window & 7));
    }
    // The whole content is the window; its size stands behind the dictionary's id.
    let dictionary_bytes = [0, 1, 2, 4][usize::from(descriptor & 3)];
    let size = rest.get(dictionary_bytes..)?;
    match descriptor >> 6 {
        0 => size.first().map(|size| u64::from(*size)),
        1 => size.first_chunk().map(|size| u64::from(u16::from_le_bytes(*size)) + 256),
        2 => size.first_chunk().map(|size| u64::from(u32::from_le_bytes(*size))),
        _ => size.first_chunk().map(|size| u64::from_le_bytes(*size)),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    #[test]
    fn a_frame_tells_the_window_that_it_was_made_with() {
        for log in [10, 17, 27] {
            let mut encoder = zstd::Encoder::new(Vec::new(), 1).unwrap();
            encoder.window_log(log).unwrap();
            // Of unknown length, so that the window stands there.
            encoder.write_all(&vec![7; 1 << 16]).unwrap();
            let frame = encoder.finish().unwrap();
            assert_eq!(window_bytes(&frame), Some(1 << log));
        }
        for size in [1_usize, 200, 255, 256, 300, 65_535, 70_000] {
            let frame = zstd::bulk::compress(&vec![7; size], 1).unwrap();
            let window = window_bytes(&frame).unwrap();
            assert!(window >= size as u64 || window >= 1 << 16, "{size}: {window}");
        }
        assert_eq!(window_bytes(b"\x28\xb5\x2f\xfd"), None);
        assert_eq!(window_bytes(b"\x1f\x8b\x08\0\0\0"), None);
    }
}
