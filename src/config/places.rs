use super::reader::line_of;
use std::path::Path;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// Where the keys of a TOML file stand, for mistakes that show only once the file has been read.
#[derive(Debug, Default)]
pub struct Places(Vec<(String, usize)>);

impl Places {
    /// The places of all keys in `file`; none where it cannot be read.
    pub fn of(file: &Path) -> Self {
        let text = std::fs::read_to_string(file).unwrap_or_default();
        let mut places = Self::default();
        if let Ok(root) = DeTable::parse(&text) {
            places.add(&text, "", root.get_ref());
        }
        places
    }

    /// The line, from 1, of `key` (such as `lane[0].camera.id`), else of the table that it belongs to.
    pub fn line(&self, key: &str) -> Option<usize> {
        let found = self.0.iter().find(|(known, _)| known == key).map(|(_, line)| *line);
        found.or_else(|| self.line(&key[..key.rfind(['.', '['])?]))
    }

    fn add(&mut self, text: &str, path: &str, table: &DeTable<'_>) {
        for (key, value) in table {
            let path = if path.is_empty() { key.get_ref().to_string() } else { format!("{path}.{}", key.get_ref()) };
            self.0.push((path.clone(), line_of(text, key.span().start)));
            match value.get_ref() {
                DeValue::Table(table) => self.add(text, &path, table),
                DeValue::Array(items) => items.iter().enumerate().for_each(|(i, item)| self.add_item(text, format!("{path}[{i}]"), item)),
                _ => {}
            }
        }
    }

    fn add_item(&mut self, text: &str, path: String, item: &Spanned<DeValue<'_>>) {
        if let DeValue::Table(table) = item.get_ref() {
            self.add(text, &path, table);
            self.0.push((path, line_of(text, item.span().start)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_found_in_its_own_table_and_a_missing_one_where_its_table_begins() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("station.toml");
        std::fs::write(&file, "[network]\nmodel = \"m\"\n\n[[lane]]\nname = \"a\"\n[[lane]]\nname = \"b\"\n[lane.belt]\nmm_per_px = 1\n")
            .unwrap();
        let places = Places::of(&file);
        let lines =
            ["network.model", "network.cpus", "lane[1].name", "lane[1].belt.mm_per_px", "lane[1].belt.gap", "lane[1].camera", "http"]
                .map(|key| places.line(key));
        assert_eq!(lines, [Some(2), Some(1), Some(7), Some(9), Some(8), Some(6), None]);
    }
}
