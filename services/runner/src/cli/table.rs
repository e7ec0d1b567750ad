//! Lists for people.

/// Rows under their headings, each column as wide as its widest cell. Foreign texts come made
/// plain.
pub(super) fn table<const N: usize>(headings: [&str; N], rows: &[[String; N]]) -> String {
    let widths: [usize; N] = std::array::from_fn(|place| {
        let cells = rows.iter().map(|row| row[place].chars().count());
        cells.chain([headings[place].chars().count()]).max().unwrap_or_default()
    });
    let line = |cells: [&str; N]| {
        let cells = cells.iter().zip(widths).map(|(cell, width)| format!("{cell:<width$}"));
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    let rows = rows.iter().map(|row| line(std::array::from_fn(|place| row[place].as_str())));
    std::iter::once(line(headings)).chain(rows).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let rows = [["G1", "fees"], ["GLONG", ""]].map(|row| row.map(str::to_owned));
        let shown = table(["account", "label"], &rows);
        assert_eq!(shown, "account  label\nG1       fees\nGLONG");
        assert_eq!(table(["account", "label"], &[]), "account  label");
    }
}
