//! One column's values with their levels, a batch of rows at a time.
//!
//! A value has a *definition level*, which says how far down its path there is something, and a *repetition level*, which says
//! which list it goes on; 0 begins a row. <https://parquet.apache.org/docs/file-format/nestedencoding/>

use parquet::column::reader::{ColumnReader, ColumnReaderImpl, get_typed_column_reader};
use parquet::data_type::{
    BoolType, ByteArrayType, DataType, DoubleType, FixedLenByteArrayType, FloatType, Int32Type, Int64Type, Int96Type,
};
use parquet::errors::ParquetError;
use parquet::file::reader::RowGroupReader;
use parquet::schema::types::ColumnDescriptor;

use super::value::{Form, Stored};

/// Pages without a value that may follow each other. Some writers leave one here and there, and the library takes each for the
/// end.
const EMPTY_PAGES_MAX: usize = 8;

/// What is said of columns that do not fit each other, or their own levels.
pub(super) const DAMAGED: &str = "its columns do not fit together: the file is damaged";

/// A column, and the batch of its rows that was read.
pub(super) struct Column {
    /// Its path, for texts.
    pub name: String,
    /// Its place in the file.
    place: usize,
    form: Form,
    def_max: i16,
    rep_max: i16,
    values: Box<dyn Values>,
    defs: Vec<i16>,
    reps: Vec<i16>,
    levels: usize,
    /// The next level, and the next value.
    level: usize,
    value: usize,
}

impl Column {
    pub(super) fn new(place: usize, of: &ColumnDescriptor) -> Column {
        Column {
            name: of.path().string(),
            place,
            form: Form::of(of.self_type()),
            def_max: of.max_def_level(),
            rep_max: of.max_rep_level(),
            values: Box::new(Nothing),
            defs: Vec::new(),
            reps: Vec::new(),
            levels: 0,
            level: 0,
            value: 0,
        }
    }

    pub(super) fn place(&self) -> usize {
        self.place
    }

    /// Begins with the rows of another row group.
    pub(super) fn open(&mut self, rows: &dyn RowGroupReader) -> Result<(), ParquetError> {
        self.values = typed(rows.get_column_reader(self.place)?);
        Ok(())
    }

    /// Reads up to so many more rows, and says how many there were.
    pub(super) fn read(&mut self, rows: usize) -> Result<usize, ParquetError> {
        self.defs.clear();
        self.reps.clear();
        (self.level, self.value) = (0, 0);
        self.values.clear();
        self.levels = 0;
        let (mut had, mut nothing) = (0, 0);
        while had < rows && nothing < EMPTY_PAGES_MAX {
            let (more, levels) = self.values.read(rows - had, &mut self.defs, &mut self.reps)?;
            had += more;
            self.levels += levels;
            nothing = if levels == 0 { nothing + 1 } else { 0 };
        }
        Ok(had)
    }

    /// The definition level of what is next.
    pub(super) fn def(&self) -> Result<i16, &'static str> {
        match self.def_max {
            0 if self.level < self.levels => Ok(0),
            0 => Err(DAMAGED),
            _ => self.defs.get(self.level).copied().ok_or(DAMAGED),
        }
    }

    /// The repetition level of what is next; 0 where nothing is.
    pub(super) fn rep(&self) -> i16 {
        if self.rep_max == 0 { 0 } else { self.reps.get(self.level).copied().unwrap_or(0) }
    }

    /// Passes over what is next, which is no value.
    pub(super) fn skip(&mut self) -> Result<(), &'static str> {
        if self.def()? == self.def_max {
            return Err(DAMAGED);
        }
        self.level += 1;
        Ok(())
    }

    /// Appends what is next, which may be null.
    pub(super) fn write(&mut self, out: &mut Vec<u8>) -> Result<(), &'static str> {
        let def = self.def()?;
        self.level += 1;
        if def < self.def_max {
            out.extend_from_slice(b"null");
            return Ok(());
        }
        self.value += 1;
        self.form.write(self.values.stored(self.value - 1).ok_or(DAMAGED)?, out)
    }
}

/// The values of a batch.
trait Values {
    fn clear(&mut self);

    /// Reads up to so many more rows; the number of rows and of levels.
    fn read(&mut self, rows: usize, defs: &mut Vec<i16>, reps: &mut Vec<i16>) -> Result<(usize, usize), ParquetError>;

    fn stored(&self, at: usize) -> Option<Stored<'_>>;
}

/// Of a column that is not open.
struct Nothing;

impl Values for Nothing {
    fn clear(&mut self) {}

    fn read(&mut self, _: usize, _: &mut Vec<i16>, _: &mut Vec<i16>) -> Result<(usize, usize), ParquetError> {
        Ok((0, 0))
    }

    fn stored(&self, _: usize) -> Option<Stored<'_>> {
        None
    }
}

struct Typed<T: DataType> {
    reader: ColumnReaderImpl<T>,
    values: Vec<T::T>,
    stored: fn(&T::T) -> Stored<'_>,
}

impl<T: DataType> Values for Typed<T> {
    fn clear(&mut self) {
        self.values.clear();
    }

    fn read(&mut self, rows: usize, defs: &mut Vec<i16>, reps: &mut Vec<i16>) -> Result<(usize, usize), ParquetError> {
        let (rows, _, levels) = self.reader.read_records(rows, Some(defs), Some(reps), &mut self.values)?;
        Ok((rows, levels))
    }

    fn stored(&self, at: usize) -> Option<Stored<'_>> {
        self.values.get(at).map(self.stored)
    }
}

fn typed(reader: ColumnReader) -> Box<dyn Values> {
    fn boxed<T: DataType>(reader: ColumnReader, stored: fn(&T::T) -> Stored<'_>) -> Box<dyn Values> {
        Box::new(Typed::<T> { reader: get_typed_column_reader(reader), values: Vec::new(), stored })
    }
    match reader {
        ColumnReader::BoolColumnReader(_) => boxed::<BoolType>(reader, |v| Stored::Bool(*v)),
        ColumnReader::Int32ColumnReader(_) => boxed::<Int32Type>(reader, |v| Stored::Int((*v).into())),
        ColumnReader::Int64ColumnReader(_) => boxed::<Int64Type>(reader, |v| Stored::Int(*v)),
        ColumnReader::Int96ColumnReader(_) => boxed::<Int96Type>(reader, |v| Stored::Int96(since_1970(v.data()))),
        ColumnReader::FloatColumnReader(_) => boxed::<FloatType>(reader, |v| Stored::Float(*v)),
        ColumnReader::DoubleColumnReader(_) => boxed::<DoubleType>(reader, |v| Stored::Double(*v)),
        ColumnReader::ByteArrayColumnReader(_) => boxed::<ByteArrayType>(reader, |v| Stored::Bytes(v.data())),
        ColumnReader::FixedLenByteArrayColumnReader(_) => {
            boxed::<FixedLenByteArrayType>(reader, |v| Stored::Bytes(v.data()))
        }
    }
}

/// What Impala and Spark wrote: nanoseconds of a Julian day, low word first, and the day.
fn since_1970(words: &[u32]) -> i128 {
    const JULIAN_DAY_OF_1970: i128 = 2_440_588;
    const DAY_NANOS: i128 = 86_400_000_000_000;
    let nanos = i128::from(words[0]) | i128::from(words[1]) << 32;
    (i128::from(words[2]) - JULIAN_DAY_OF_1970) * DAY_NANOS + nanos
}
