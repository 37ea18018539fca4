//! The album's folders.

use super::{AlbumError, Name, Page, picture};
use crate::cell::{Mask, mask_png};
use crate::disk::{room, write_whole};
use std::collections::VecDeque;
use std::fs;
use std::path::{Path, PathBuf};

const UNREVIEWED: &str = "unreviewed";
const IMAGES: &str = "images";
const MASKS: &str = "masks";
/// What was found on those of this run about which the truth was told: it may be told anew.
const TOLD: &str = "told";

/// What the album leaves free on its disk, where the ledger grows as well: without that every cell would be held.
const RESERVE_BYTES: u64 = 1 << 30;
/// One in so many bytes of a disk that is small.
const RESERVE_OF_SMALL: u64 = 20;

/// What the mask that was found is called, beside its picture.
const FOUND: &str = ".found.png";

/// Where the picture of that name may lie.
pub(super) fn places(dir: &Path, name: &Name) -> [PathBuf; 2] {
    [IMAGES, UNREVIEWED].map(|folder| dir.join(folder).join(format!("{name}.png")))
}

/// Where its mask may lie: the true one, else the one that was found.
pub(super) fn masks(dir: &Path, name: &Name) -> [PathBuf; 2] {
    let [found, _] = found(dir, name);
    [dir.join(MASKS).join(format!("{name}.png")), found]
}

/// Where the mask that was found may lie: before the truth is told, and after.
pub(super) fn found(dir: &Path, name: &Name) -> [PathBuf; 2] {
    [UNREVIEWED, TOLD].map(|folder| dir.join(folder).join(format!("{name}{FOUND}")))
}

/// The pictures that wait for their truth, the newest first.
pub(super) fn waiting(dir: &Path) -> Result<Vec<Name>, AlbumError> {
    // The mask that was found is written last.
    let mut names: Vec<Name> = files(&dir.join(UNREVIEWED))?.iter().filter_map(|file| Name::parse(file.strip_suffix(FOUND)?)).collect();
    names.sort_by(|a, b| b.cmp(a));
    Ok(names)
}

/// What the files in a folder are called.
fn files(folder: &Path) -> Result<Vec<String>, AlbumError> {
    let entries = fs::read_dir(folder).map_err(AlbumError::file(folder))?;
    entries
        .filter_map(|entry| entry.map(|entry| entry.file_name().into_string().ok()).transpose())
        .collect::<Result<_, _>>()
        .map_err(AlbumError::file(folder))
}

/// The folders, and which pictures wait for their truth.
pub(super) struct Shelf {
    dir: PathBuf,
    /// Names of those that wait, the oldest first.
    unreviewed: VecDeque<Name>,
    unreviewed_max: usize,
    /// What is left free.
    pub(super) reserve_bytes: u64,
}

impl Shelf {
    pub fn open(dir: &Path, unreviewed_max: usize) -> Result<Self, AlbumError> {
        for folder in [UNREVIEWED, IMAGES, MASKS, TOLD] {
            let folder = dir.join(folder);
            fs::create_dir_all(&folder).map_err(AlbumError::file(&folder))?;
        }
        // Tried now rather than with the first cell.
        let probe = dir.join(UNREVIEWED).join(".writable");
        write_whole(&probe, b"").and_then(|()| fs::remove_file(&probe)).map_err(AlbumError::file(&probe))?;
        let room = room(dir).map_err(AlbumError::file(dir))?;
        let reserve_bytes = RESERVE_BYTES.min(room.total_bytes / RESERVE_OF_SMALL);
        let mut shelf = Self { dir: dir.to_owned(), unreviewed: VecDeque::new(), unreviewed_max, reserve_bytes };
        shelf.unreviewed = shelf.found()?.into();
        shelf.finish_moves()?;
        shelf.forget_told()?;
        shelf.make_room(|_| ())?;
        Ok(shelf)
    }

    /// Writes a picture, then the mask that was found, where others have room left then.
    pub fn put(&mut self, name: &Name, page: &Page) -> Result<(), AlbumError> {
        self.leaves_room()?;
        let [_, path] = places(&self.dir, name);
        let bytes = picture::encode(&page.rows).map_err(AlbumError::picture(&path))?;
        write_whole(&path, &bytes).map_err(AlbumError::file(&path))?;
        if !self.unreviewed.contains(name) {
            self.unreviewed.push_back(name.clone());
        }
        let [_, beside] = masks(&self.dir, name);
        let bytes = mask_png::encode(&page.found).map_err(AlbumError::picture(&beside))?;
        write_whole(&beside, &bytes).map_err(AlbumError::file(&beside))
    }

    fn leaves_room(&self) -> Result<(), AlbumError> {
        let room = room(&self.dir).map_err(AlbumError::file(&self.dir))?;
        if room.free_bytes >= self.reserve_bytes {
            return Ok(());
        }
        let [free_mb, reserve_mb] = [room.free_bytes, self.reserve_bytes].map(|bytes| bytes >> 20);
        Err(AlbumError::Reserve { dir: self.dir.clone(), free_mb, reserve_mb })
    }

    /// Writes the truth, then takes the picture to its side; `false` where there is no picture.
    pub fn tell(&mut self, name: &Name, truth: &Mask) -> Result<bool, AlbumError> {
        let [mask, _] = masks(&self.dir, name);
        let bytes = mask_png::encode(truth).map_err(AlbumError::picture(&mask))?;
        let [image, waiting] = places(&self.dir, name);
        if !waiting.exists() && !image.exists() {
            return Ok(false);
        }
        write_whole(&mask, &bytes).map_err(AlbumError::file(&mask))?;
        match self.take_over(name) {
            Ok(()) => Ok(true),
            Err(error) if image.exists() => {
                tracing::warn!(%error, "a truth and its picture are kept, what was found could not be put aside");
                Ok(true)
            }
            Err(error) => {
                // It is told as not kept, and would be taken for the truth at the next start.
                remove(&mask)?;
                Err(error)
            }
        }
    }

    /// Moves a picture whose truth is there.
    fn take_over(&mut self, name: &Name) -> Result<(), AlbumError> {
        let [image, waiting] = places(&self.dir, name);
        if waiting.exists() {
            fs::rename(&waiting, &image).map_err(AlbumError::file(&image))?;
        }
        self.unreviewed.retain(|other| other != name);
        let [before, after] = found(&self.dir, name);
        if before.exists() {
            fs::rename(&before, &after).map_err(AlbumError::file(&after))?;
        }
        Ok(())
    }

    /// Pictures whose truth was written before the power went.
    fn finish_moves(&mut self) -> Result<(), AlbumError> {
        let told = |name: &&Name| masks(&self.dir, name)[0].exists();
        let halfway: Vec<Name> = self.unreviewed.iter().filter(told).cloned().collect();
        halfway.iter().try_for_each(|name| self.take_over(name))
    }

    /// Removes what was found on a cell whose truth was told.
    pub fn forget_found(&self, name: &Name) -> Result<(), AlbumError> {
        remove(&found(&self.dir, name)[1])
    }

    /// The same of all: cells of earlier runs are counted no more.
    fn forget_told(&self) -> Result<(), AlbumError> {
        let files = files(&self.dir.join(TOLD))?;
        files.iter().filter_map(|file| Name::parse(file.strip_suffix(FOUND)?)).try_for_each(|name| self.forget_found(&name))
    }

    /// Removes the oldest that wait, where there are too many, and tells each.
    pub fn make_room(&mut self, removed: impl Fn(&Name)) -> Result<(), AlbumError> {
        while self.unreviewed.len() > self.unreviewed_max
            && let Some(oldest) = self.unreviewed.front()
        {
            remove(&places(&self.dir, oldest)[1])?;
            remove(&masks(&self.dir, oldest)[1])?;
            removed(oldest);
            self.unreviewed.pop_front();
        }
        Ok(())
    }

    /// Names of the pictures that wait, in order; what a write that was cut off has left is removed, what others have put there is not.
    fn found(&self) -> Result<Vec<Name>, AlbumError> {
        let folder = self.dir.join(UNREVIEWED);
        let mut names = Vec::new();
        for file in files(&folder)? {
            let is_half = file.starts_with('.') && file.ends_with(".part");
            let found_of = file.strip_suffix(FOUND).and_then(Name::parse);
            if is_half || found_of.is_some_and(|name| !places(&self.dir, &name)[1].exists()) {
                remove(&folder.join(file))?;
            } else {
                names.extend(file.strip_suffix(".png").and_then(Name::parse));
            }
        }
        names.sort();
        Ok(names)
    }
}

/// Removes a file; one that somebody else has taken away already is no error.
fn remove(path: &Path) -> Result<(), AlbumError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(AlbumError::file(path)(error)),
        _ => Ok(()),
    }
}
