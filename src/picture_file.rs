//! Picture files: listed, read whole, decoded. PNG, JPEG and TIFF, told by what they hold and not by their names.

mod pages;

use image::{ColorType, DynamicImage, ImageDecoder, ImageError, ImageReader, Limits};
use pages::holds_several;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Cursor, Seek};
use std::path::{Path, PathBuf};

/// Endings of picture files, of which capitals are as good.
pub const ENDINGS: [&str; 5] = ["png", "jpg", "jpeg", "tif", "tiff"];

/// Bytes that a decoded picture may have; a header may tell any size.
const MOST_BYTES: u64 = 4 << 30;

/// Why a file gives no picture.
#[derive(Debug, thiserror::Error)]
pub enum PictureFileError {
    /// The system does not give the file.
    #[error("picture {path}: cannot be read: {reason}; check that it is there and may be read")]
    Unread {
        /// The file.
        path: PathBuf,
        /// What the system said.
        reason: io::Error,
    },
    /// A JPEG lacks its end; decoders fill what is missing with grey, which would be taken for what was seen.
    #[error("picture {path}: this JPEG is cut off: its end is missing; copy it again")]
    CutOff {
        /// The file.
        path: PathBuf,
    },
    /// The file is no picture, damaged, or of a kind that is not read.
    #[error("picture {path}: cannot be decoded: {reason}; expected a PNG, JPEG or TIFF, 8 or 16 bit")]
    Undecodable {
        /// The file.
        path: PathBuf,
        /// What the decoder said.
        reason: ImageError,
    },
    /// A TIFF with more than one page, of which decoders read the first and are silent about the others.
    #[error("picture {path}: holds several pictures; save each as its own file")]
    Several {
        /// The file.
        path: PathBuf,
    },
    /// The picture is larger than any that is read.
    #[error(
        "picture {path}: its header tells {width_px}x{height_px} px, more than are decoded; copy it again, or, if it is as large, cut it \
         into several"
    )]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// Its width.
        width_px: u32,
        /// Its height.
        height_px: u32,
    },
}

/// Whether files with this ending, told without its dot, are taken for pictures.
pub fn is_ending(ending: impl AsRef<OsStr>) -> bool {
    ENDINGS.iter().any(|known| ending.as_ref().eq_ignore_ascii_case(known))
}

/// The picture files that lie in a folder itself, in the order of their names; none is opened.
///
/// # Errors
/// A folder, or an entry of it, that the system does not tell.
pub fn list(folder: &Path) -> io::Result<Vec<PathBuf>> {
    // What cannot be looked at, such as a link to nowhere, is listed: reading it tells what is wrong.
    let is_file = |path: &Path| fs::metadata(path).map_or(true, |found| found.is_file());
    let mut pictures = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.extension().is_some_and(is_ending) && is_file(&path) {
            pictures.push(path);
        }
    }
    pictures.sort();
    Ok(pictures)
}

/// What a picture's header says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// Width, as it is stored.
    pub width_px: u32,
    /// Height, as it is stored.
    pub height_px: u32,
    /// Channels and their depth.
    pub color: ColorType,
}

impl Header {
    /// Reads the header and nothing behind it.
    ///
    /// # Errors
    /// A file that cannot be read, is no picture, holds several, or says that it is too large.
    pub fn read(path: &Path) -> Result<Self, PictureFileError> {
        let file = File::open(path).map_err(unread(path))?;
        let decoder = decoder(path, BufReader::new(file))?;
        let (width_px, height_px) = decoder.dimensions();
        Ok(Self { width_px, height_px, color: decoder.color_type() })
    }
}

/// A picture's file, read whole.
#[derive(Debug)]
pub struct PictureFile {
    path: PathBuf,
    bytes: Vec<u8>,
}

impl PictureFile {
    /// Reads the file; what it shows is looked at when it is decoded.
    ///
    /// # Errors
    /// A file that cannot be read, or a JPEG that is cut off.
    pub fn read(path: &Path) -> Result<Self, PictureFileError> {
        let bytes = fs::read(path).map_err(unread(path))?;
        if is_cut_off_jpeg(&bytes) {
            return Err(PictureFileError::CutOff { path: path.to_owned() });
        }
        Ok(Self { path: path.to_owned(), bytes })
    }

    /// Where it lies.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What it holds.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The picture as it is stored, which is as the camera saw it.
    ///
    /// # Errors
    /// A file that is no picture, holds several, is damaged, or too large.
    pub fn decode(&self) -> Result<DynamicImage, PictureFileError> {
        DynamicImage::from_decoder(decoder(&self.path, Cursor::new(&self.bytes))?).map_err(undecodable(&self.path))
    }

    /// The picture as viewers show it: turned as its EXIF orientation says.
    ///
    /// # Errors
    /// As [`decode`](Self::decode).
    pub fn decode_upright(&self) -> Result<DynamicImage, PictureFileError> {
        let mut decoder = decoder(&self.path, Cursor::new(&self.bytes))?;
        let orientation = decoder.orientation().map_err(undecodable(&self.path))?;
        let mut picture = DynamicImage::from_decoder(decoder).map_err(undecodable(&self.path))?;
        picture.apply_orientation(orientation);
        Ok(picture)
    }
}

fn decoder<'a>(path: &Path, mut bytes: impl BufRead + Seek + 'a) -> Result<impl ImageDecoder + 'a, PictureFileError> {
    if holds_several(&mut bytes) {
        return Err(PictureFileError::Several { path: path.to_owned() });
    }
    bytes.rewind().map_err(unread(path))?;
    let mut reader = ImageReader::new(bytes).with_guessed_format().map_err(unread(path))?;
    let mut limits = Limits::default();
    limits.max_alloc = Some(MOST_BYTES);
    reader.limits(limits);
    let decoder = reader.into_decoder().map_err(undecodable(path))?;
    if decoder.total_bytes() > MOST_BYTES {
        let (width_px, height_px) = decoder.dimensions();
        return Err(PictureFileError::TooLarge { path: path.to_owned(), width_px, height_px });
    }
    Ok(decoder)
}

fn unread(path: &Path) -> impl FnOnce(io::Error) -> PictureFileError {
    move |reason| PictureFileError::Unread { path: path.to_owned(), reason }
}

fn undecodable(path: &Path) -> impl FnOnce(ImageError) -> PictureFileError {
    move |reason| PictureFileError::Undecodable { path: path.to_owned(), reason }
}

/// Whether a JPEG lacks its end. Other files are never cut off in this sense; their decoders tell it themselves.
fn is_cut_off_jpeg(bytes: &[u8]) -> bool {
    const SCAN: u8 = 0xda;
    if !bytes.starts_with(&[0xff, 0xd8]) {
        return false;
    }
    // Segments have their length, so that the end mark of a preview within one is passed over.
    let mut at = 2;
    while let Some([0xff, marker, high, low]) = bytes.get(at..at + 4) {
        if *marker == SCAN {
            // In what follows 0xff stands for a mark only; something may lie behind the end.
            return !bytes[at..].windows(2).any(|mark| mark == [0xff, 0xd9]);
        }
        at += 2 + usize::from(u16::from_be_bytes([*high, *low]));
    }
    // Without a scan it is cut off, or no JPEG, which its decoder tells.
    at + 4 > bytes.len()
}

#[cfg(test)]
mod tests {
    use super::*;
    use image::codecs::jpeg::JpegEncoder;
    use image::{ExtendedColorType, GrayImage, ImageEncoder, Luma};
    use tiff::encoder::colortype::Gray8;
    use tiff::encoder::{TiffEncoder, TiffKind};
    use tiff::tags::Tag;

    fn grey() -> GrayImage {
        GrayImage::from_fn(64, 48, |x, y| Luma([(3 * x + y) as u8]))
    }

    /// What is told of a file that gives no picture; it names the file.
    fn refusal(path: &Path) -> String {
        let told = PictureFile::read(path).and_then(|file| file.decode()).unwrap_err().to_string();
        assert!(told.contains(&path.display().to_string()), "{told}");
        told
    }

    #[test]
    fn the_pictures_of_a_folder_are_its_files_with_known_endings_in_the_order_of_their_names() {
        let folder = tempfile::tempdir().unwrap();
        let place = |name: &str| folder.path().join(name);
        for name in ["c.TIFF", "a.png", "b.JpG", "d.jpeg", "e.Tif", "notes.txt", "png", ".png"] {
            fs::write(place(name), "").unwrap();
        }
        fs::create_dir(place("x.png")).unwrap();
        fs::write(place("x.png/inside.png"), "").unwrap();
        assert_eq!(list(folder.path()).unwrap(), ["a.png", "b.JpG", "c.TIFF", "d.jpeg", "e.Tif"].map(place));
        assert_eq!(list(&place("nowhere")).unwrap_err().kind(), io::ErrorKind::NotFound);
    }

    #[test]
    fn a_link_to_nowhere_is_listed_and_told_when_it_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let link = folder.path().join("lost.png");
        std::os::unix::fs::symlink("/nonexistent/picture.png", &link).unwrap();
        assert_eq!(list(folder.path()).unwrap(), std::slice::from_ref(&link));
        let told = refusal(&link);
        assert!(told.contains("cannot be read") && told.contains("check that it is there"), "{told}");
    }

    #[test]
    fn what_a_file_holds_counts_and_not_its_ending() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.TIF");
        grey().save_with_format(&path, image::ImageFormat::Png).unwrap();
        let file = PictureFile::read(&path).unwrap();
        assert_eq!(file.bytes(), fs::read(file.path()).unwrap());
        assert_eq!(file.decode().unwrap(), DynamicImage::ImageLuma8(grey()));
        assert_eq!(Header::read(&path).unwrap(), Header { width_px: 64, height_px: 48, color: ColorType::L8 });
    }

    #[test]
    fn what_is_no_picture_is_told_with_what_is_expected() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.png");
        for content in ["", "not a picture"] {
            fs::write(&path, content).unwrap();
            let told = refusal(&path);
            assert!(told.contains("cannot be decoded") && told.contains("PNG, JPEG or TIFF"), "{told}");
            assert_eq!(Header::read(&path).unwrap_err().to_string(), told);
        }
        let told = refusal(folder.path());
        assert!(told.contains("cannot be read"), "{told}");
    }

    #[test]
    fn a_picture_that_is_cut_off_is_told() {
        let folder = tempfile::tempdir().unwrap();
        for (name, said) in [("a.jpg", "cut off: its end is missing; copy it again"), ("a.png", "cannot be decoded")] {
            let path = folder.path().join(name);
            grey().save(&path).unwrap();
            let whole = fs::read(&path).unwrap();
            fs::write(&path, &whole[..whole.len() * 3 / 4]).unwrap();
            let told = refusal(&path);
            assert!(told.contains(said), "{told}");
        }
    }

    #[test]
    fn a_jpeg_without_its_end_mark_is_cut_off() {
        let preview = [0xff, 0xe1, 0, 6, 0xff, 0xda, 0xff, 0xd9];
        let whole = [&[0xff, 0xd8][..], &preview, &[0xff, 0xda], &[7; 3000], &[0xff, 0xd9], &[0; 5000]].concat();
        assert!(!is_cut_off_jpeg(&whole));
        for length in [2, 8, 10, 12, 2000] {
            assert!(is_cut_off_jpeg(&whole[..length]), "{length} bytes");
        }
        assert!(!is_cut_off_jpeg(b"\x89PNG") && !is_cut_off_jpeg(b""));
    }

    #[test]
    fn a_size_that_nobody_has_memory_for_is_refused_before_it_is_believed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("vast.tif");
        // A TIFF of one strip: 8-bit grey, 2^26 px wide and high.
        let entries: [(u16, u32); 8] = [(256, 1 << 26), (257, 1 << 26), (258, 8), (259, 1), (262, 1), (273, 8), (278, 1 << 26), (279, 64)];
        let mut file = b"II*\0\x08\0\0\0\x08\0".to_vec();
        for (tag, value) in entries {
            let long = [4, 0, 1, 0, 0, 0];
            file.extend([&tag.to_le_bytes()[..], &long, &value.to_le_bytes()].concat());
        }
        file.extend([0; 64]);
        fs::write(&path, file).unwrap();
        let told = refusal(&path);
        assert!(told.contains("67108864x67108864 px") && told.contains("cut it into several"), "{told}");
        assert_eq!(Header::read(&path).unwrap_err().to_string(), told);
    }

    /// A TIFF with a page of grey pixels for each kind told.
    fn pages<K: TiffKind>(mut file: TiffEncoder<Cursor<&mut Vec<u8>>, K>, kinds: &[u32]) {
        for kind in kinds {
            let mut page = file.new_image::<Gray8>(64, 48).unwrap();
            page.encoder().write_tag(Tag::NewSubfileType, *kind).unwrap();
            page.write_data(grey().as_raw()).unwrap();
        }
    }

    #[test]
    fn a_tiff_with_a_second_page_is_refused_and_its_thumbnail_is_none() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pages.tif");
        let cases: [(&[u32], bool); 6] =
            [(&[0], false), (&[0, 0], true), (&[0, 2], true), (&[0, 1], false), (&[0, 4], false), (&[0, 1, 0], true)];
        for ((kinds, several), big) in cases.into_iter().flat_map(|case| [(case, false), (case, true)]) {
            let mut bytes = Vec::new();
            if big {
                pages(TiffEncoder::new_big(Cursor::new(&mut bytes)).unwrap(), kinds);
            } else {
                pages(TiffEncoder::new(Cursor::new(&mut bytes)).unwrap(), kinds);
            }
            assert_eq!(holds_several(Cursor::new(&bytes)), several, "{kinds:?}, {big}");
            fs::write(&path, &bytes).unwrap();
            if several {
                let told = refusal(&path);
                assert!(told.contains("holds several pictures; save each as its own file"), "{told}");
                assert_eq!(Header::read(&path).unwrap_err().to_string(), told);
            } else if !big {
                assert_eq!(PictureFile::read(&path).unwrap().decode().unwrap(), DynamicImage::ImageLuma8(grey()), "{kinds:?}");
            }
        }
    }

    #[test]
    fn only_who_asks_for_it_upright_gets_a_picture_turned() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("turned.jpg");
        // EXIF with orientation 6: viewers show the picture turned by a quarter clockwise.
        let exif = [b"II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0".as_slice(), &[6, 0, 0, 0, 0, 0, 0, 0]].concat();
        let mut encoder = JpegEncoder::new_with_quality(File::create(&path).unwrap(), 100);
        encoder.set_exif_metadata(exif).unwrap();
        encoder.write_image(grey().as_raw(), 64, 48, ExtendedColorType::L8).unwrap();
        let file = PictureFile::read(&path).unwrap();
        let stored = file.decode().unwrap();
        assert_eq!((stored.width(), stored.height()), (64, 48));
        assert_eq!(file.decode_upright().unwrap(), stored.rotate90());
    }
}
