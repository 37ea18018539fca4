use super::{Picture, Set, Source};
use crate::cell::Mask;
use crate::train::TrainError;
use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use sha2::{Digest, Sha256};
use std::path::{Path, PathBuf};

/// Pictures with masks from a folder: `images/NAME.png` and `masks/NAME.png`, PNG or JPEG, 8 or 16 bit.
///
/// Masks are thresholded at half. Pixels that are exactly 0 at a line's ends lie outside the wafer.
/// Nothing is held in memory; pictures are read when they are needed.
#[derive(Debug)]
pub struct Folder {
    root: PathBuf,
    seed: u64,
    training: Vec<Entry>,
    validation: Vec<Entry>,
    /// Indices into `training`.
    cracked: Vec<usize>,
    digest: String,
}

#[derive(Debug, Clone)]
struct Entry {
    picture: PathBuf,
    mask: PathBuf,
    crack_px: u64,
    all_px: u64,
}

const EXTENSIONS: [&str; 5] = ["png", "jpg", "jpeg", "tif", "tiff"];

impl Folder {
    /// Reads every file of the folder once: finds each picture's mask, compares sizes, takes the digest,
    /// and splits by picture, seeded, into training and validation (`validation_share` of them, at least one).
    ///
    /// # Errors
    /// Every fault names its file and what to do.
    pub fn open(root: &Path, seed: u64, validation_share: f64) -> Result<Self, TrainError> {
        let pictures = pictures_in(&root.join("images"))?;
        if pictures.len() < 2 {
            let problem =
                format!("{} pictures in images/; at least 2 are needed, one to learn from and one to validate with", pictures.len());
            return Err(TrainError::Data { path: root.to_owned(), problem });
        }
        let mut sum = Sha256::new();
        let mut entries = Vec::with_capacity(pictures.len());
        for picture in pictures {
            let mask = mask_of(root, &picture)?;
            let truth = read_mask(&mask, &mut sum)?;
            let size = image::image_dimensions(&picture).map_err(|source| TrainError::Unreadable { path: picture.clone(), source })?;
            same_size(&mask, &truth, size)?;
            sum.update(std::fs::read(&picture).map_err(TrainError::file(&picture, "cannot read it"))?);
            sum.update(picture.file_name().unwrap_or_default().as_encoded_bytes());
            entries.push(Entry { picture, mask, crack_px: truth.count(), all_px: u64::from(size.0) * u64::from(size.1) });
        }
        if entries.iter().all(|e| e.crack_px == 0) {
            let problem = "every mask is empty: there is no crack to learn; masks are white on crack, black elsewhere".to_owned();
            return Err(TrainError::Data { path: root.join("masks"), problem });
        }
        entries.shuffle(&mut ChaCha8Rng::seed_from_u64(seed));
        let held_back = ((entries.len() as f64 * validation_share).round() as usize).clamp(1, entries.len() - 1);
        let training = entries.split_off(held_back);
        let cracked = (0..training.len()).filter(|i| training[*i].crack_px > 0).collect();
        Ok(Self { root: root.to_owned(), seed, training, validation: entries, cracked, digest: hex(&sum.finalize()) })
    }

    /// Number of pictures in a part of the data.
    pub fn len(&self, set: Set) -> usize {
        self.entries(set).len()
    }

    /// Whether a part of the data has no pictures (it always has).
    pub fn is_empty(&self, set: Set) -> bool {
        self.len(set) == 0
    }

    fn entries(&self, set: Set) -> &[Entry] {
        match set {
            Set::Training => &self.training,
            Set::Validation => &self.validation,
        }
    }

    /// Picture `index` of a part of the data; they are counted round.
    ///
    /// # Errors
    /// A picture that cannot be read any more.
    pub fn picture(&self, set: Set, index: usize) -> Result<Picture, TrainError> {
        let entries = self.entries(set);
        entries[index % entries.len()].read()
    }

    /// Entry number `turn` of rounds through `among`, each round in an order of its own.
    fn in_turn(&self, among: &[usize], stream: u64, turn: u64) -> usize {
        let round = turn / among.len() as u64;
        let mut rng = ChaCha8Rng::seed_from_u64(self.seed ^ stream.rotate_right(8));
        rng.set_stream(round);
        let mut order = among.to_vec();
        order.shuffle(&mut rng);
        order[(turn % among.len() as u64) as usize]
    }
}

impl Source for Folder {
    /// Every second picture is a cracked one, the others are taken from all.
    fn training(&self, draw: u64) -> Result<Picture, TrainError> {
        let all: Vec<usize> = (0..self.training.len()).collect();
        let cracked_turn = draw.is_multiple_of(2) && !self.cracked.is_empty();
        let among = if cracked_turn { &self.cracked } else { &all };
        self.training[self.in_turn(among, u64::from(cracked_turn), draw / 2)].read()
    }

    fn validation(&self, index: usize) -> Result<Picture, TrainError> {
        self.picture(Set::Validation, index)
    }

    fn validation_count(&self) -> usize {
        self.validation.len()
    }

    fn cracked_share(&self) -> f64 {
        if self.cracked.is_empty() { 0.0 } else { 0.5 + 0.5 * self.cracked.len() as f64 / self.training.len() as f64 }
    }

    fn digest(&self) -> Result<String, TrainError> {
        Ok(self.digest.clone())
    }

    fn summary(&self) -> serde_json::Value {
        let ratio = |entries: &[Entry]| {
            let (crack, all) = entries.iter().fold((0, 0), |(crack, all), e| (crack + e.crack_px, all + e.all_px));
            if crack == 0 { None } else { Some((all - crack) as f64 / crack as f64) }
        };
        serde_json::json!({
            "source": "folder",
            "folder": self.root.file_name().map(|n| n.to_string_lossy()),
            "training_pictures": self.training.len(),
            "validation_pictures": self.validation.len(),
            "background_per_crack_pixel": ratio(&self.training),
        })
    }
}

impl Entry {
    fn read(&self) -> Result<Picture, TrainError> {
        let truth = read_mask(&self.mask, &mut Sha256::new())?;
        let grey = decode(&self.picture)?.into_luma16();
        same_size(&self.mask, &truth, grey.dimensions())?;
        let name = self.picture.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let width = grey.width() as usize;
        let unfit = || TrainError::Data { path: self.picture.clone(), problem: format!("{width} px wide; at most 65535 px are possible") };
        Picture::new(name, width, grey.into_raw(), truth).ok_or_else(unfit)
    }
}

/// The pictures of a folder in the order of their names.
fn pictures_in(folder: &Path) -> Result<Vec<PathBuf>, TrainError> {
    let unlisted = "cannot list it; the data folder needs images/ and masks/ with files of the same names";
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(TrainError::file(folder, unlisted))? {
        let path = entry.map_err(TrainError::file(folder, unlisted))?.path();
        let known = path.extension().is_some_and(|e| EXTENSIONS.iter().any(|known| e.eq_ignore_ascii_case(known)));
        if known {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

fn mask_of(root: &Path, picture: &Path) -> Result<PathBuf, TrainError> {
    let beside = root.join("masks").join(picture.file_name().unwrap_or_default());
    let found = EXTENSIONS.iter().map(|e| beside.with_extension(e)).find(|path| path.is_file());
    found.ok_or_else(|| TrainError::MissingMask { picture: picture.to_owned(), expected: beside.with_extension("png") })
}

fn decode(path: &Path) -> Result<image::DynamicImage, TrainError> {
    let bytes = std::fs::read(path).map_err(TrainError::file(path, "cannot read it"))?;
    image::load_from_memory(&bytes).map_err(|source| TrainError::Unreadable { path: path.to_owned(), source })
}

/// Reads a mask, white on crack, and adds its file to a digest.
fn read_mask(path: &Path, sum: &mut Sha256) -> Result<Mask, TrainError> {
    let bytes = std::fs::read(path).map_err(TrainError::file(path, "cannot read it"))?;
    sum.update(&bytes);
    let grey = image::load_from_memory(&bytes).map_err(|source| TrainError::Unreadable { path: path.to_owned(), source })?.into_luma8();
    let mut mask = Mask::new(grey.width() as usize, grey.height() as usize);
    for (x, y, value) in grey.enumerate_pixels() {
        if value.0[0] >= 128 {
            mask.set(x as usize, y as usize, true);
        }
    }
    Ok(mask)
}

fn same_size(path: &Path, mask: &Mask, expected: (u32, u32)) -> Result<(), TrainError> {
    let found = (mask.width_px() as u32, mask.height_px() as u32);
    if found != expected {
        return Err(TrainError::MaskSize { mask: path.to_owned(), found, expected });
    }
    Ok(())
}

/// Lower-case hexadecimal digits.
pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use image::{GrayImage, ImageBuffer, Luma};

    fn save(root: &Path, part: &str, name: &str, image: &GrayImage) {
        std::fs::create_dir_all(root.join(part)).unwrap();
        image.save(root.join(part).join(name)).unwrap();
    }

    fn folder_of(pictures: usize) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for i in 0..pictures {
            let name = format!("cell{i}.png");
            save(dir.path(), "images", &name, &GrayImage::from_fn(8, 6, |x, _| Luma([if x < 2 { 0 } else { 100 + i as u8 }])));
            save(
                dir.path(),
                "masks",
                &name,
                &GrayImage::from_fn(8, 6, |x, y| Luma([if x == 4 && y == 3 && i % 2 == 0 { 200 } else { 90 }])),
            );
        }
        dir
    }

    #[test]
    fn every_picture_belongs_to_one_part_and_the_same_seed_splits_the_same() {
        let dir = folder_of(10);
        let names = |seed| {
            let folder = Folder::open(dir.path(), seed, 0.2).unwrap();
            let names = |set| folder.entries(set).iter().map(|e| e.picture.clone()).collect::<Vec<_>>();
            (names(Set::Training), names(Set::Validation))
        };
        let (training, validation) = names(7);
        assert_eq!((training.len(), validation.len()), (8, 2));
        assert!(validation.iter().all(|p| !training.contains(p)));
        assert_eq!(names(7), (training.clone(), validation));
        assert!((8..20).any(|seed| names(seed).0 != training), "another seed splits differently");
    }

    #[test]
    fn pictures_come_with_outline_and_thresholded_mask() {
        let dir = folder_of(2);
        let folder = Folder::open(dir.path(), 1, 0.5).unwrap();
        let picture = if folder.training[0].crack_px > 0 { folder.training(0) } else { folder.validation(0) }.unwrap();
        assert_eq!((picture.width_px, picture.height_px, picture.truth.count()), (8, 6, 1));
        assert!(picture.truth.get(4, 3) && picture.spans.iter().all(|s| (s.start, s.end) == (2, 8)));
        assert_eq!(picture.pixels[2], 100 * 257);
    }

    #[test]
    fn sixteen_bit_pictures_keep_their_depth() {
        let dir = folder_of(2);
        for i in 0..2 {
            ImageBuffer::from_pixel(8, 6, Luma([12_345u16])).save(dir.path().join(format!("images/cell{i}.png"))).unwrap();
        }
        assert_eq!(Folder::open(dir.path(), 1, 0.5).unwrap().training(1).unwrap().pixels[9], 12_345);
    }

    #[test]
    fn the_digest_tells_changed_data() {
        let dir = folder_of(3);
        let digest = || Folder::open(dir.path(), 1, 0.3).unwrap().digest().unwrap();
        let before = digest();
        assert_eq!(before, digest());
        save(dir.path(), "masks", "cell1.png", &GrayImage::from_pixel(8, 6, Luma([255])));
        assert_ne!(before, digest());
    }

    #[test]
    fn faults_name_their_file_and_the_remedy() {
        let fault = |spoil: &dyn Fn(&Path)| {
            let dir = folder_of(3);
            spoil(dir.path());
            Folder::open(dir.path(), 1, 0.3).unwrap_err().to_string()
        };
        let missing = fault(&|root| std::fs::remove_file(root.join("masks/cell1.png")).unwrap());
        assert!(missing.contains("cell1.png") && missing.contains("no mask"), "{missing}");
        let size = fault(&|root| save(root, "masks", "cell2.png", &GrayImage::new(9, 6)));
        assert!(size.contains("cell2.png") && size.contains("9x6") && size.contains("8x6"), "{size}");
        let unreadable = fault(&|root| std::fs::write(root.join("images/cell0.png"), b"no picture").unwrap());
        assert!(unreadable.contains("cell0.png") && unreadable.contains("PNG"), "{unreadable}");
        let empty = fault(&|root| (0..3).for_each(|i| save(root, "masks", &format!("cell{i}.png"), &GrayImage::new(8, 6))));
        assert!(empty.contains("every mask is empty"), "{empty}");
        let nowhere = Folder::open(Path::new("/nonexistent/data"), 1, 0.3).unwrap_err().to_string();
        assert!(nowhere.contains("/nonexistent/data/images") && nowhere.contains("masks/"), "{nowhere}");
    }
}
