//! JSON as CEL's values, read where the evaluation comes to it. Texts without escapes are not copied; objects stay JSON
//! until a member of them is asked for.

use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use cel::ExecutionError;
use cel::common::traits::{Container, Indexer, Sizer};
use cel::common::types::{CelBool, CelDouble, CelInt, CelList, CelNull, CelString, CelUInt, MAP_TYPE, Type};
use cel::common::value::{CowVal, Val};
use cel::context::VariableResolver;
use wire::json::walk::{Elements, Members, find};
use wire::json::{Kind, kind, text};

use super::rewrite::place_of;
use super::{Given, PATHS_MAX};

/// Elements of lists that one evaluation reads, at most: a condition may go through a list, and an event may have 16,000
/// elements in one.
const ELEMENTS_MAX: usize = 1024;

static NULL: CelNull = CelNull;
static TRUE: CelBool = CelBool::TRUE;
static FALSE: CelBool = CelBool::FALSE;

/// What the paths of a condition lead to, for one event.
pub(super) struct Variables<'v> {
    given: [Option<Given<'v>>; PATHS_MAX],
    /// Elements that may still be read.
    left: Left,
}

/// Shared by everything read for one evaluation; atomic because CEL's values must be, though one thread alone evaluates.
#[derive(Debug)]
struct Left(AtomicUsize);

impl<'v> Variables<'v> {
    pub(super) fn new(given: [Option<Given<'v>>; PATHS_MAX]) -> Variables<'v> {
        Variables { given, left: Left(AtomicUsize::new(ELEMENTS_MAX)) }
    }

    /// A list was longer than may be read.
    pub(super) fn cut(&self) -> bool {
        self.left.0.load(Ordering::Relaxed) == 0
    }
}

impl VariableResolver for Variables<'_> {
    fn resolve<'b>(&'b self, name: &str) -> Option<CowVal<'b, 'b>> {
        Some(match self.given.get(place_of(name)?)? {
            None => CowVal::Borrowed(&NULL),
            Some(Given::Text(text)) => CowVal::owned(CelString::from(String::from_utf8_lossy(text))),
            Some(Given::Json(json)) => value(json, &self.left),
        })
    }
}

fn value<'v>(json: &'v [u8], left: &'v Left) -> CowVal<'v, 'v> {
    match kind(json) {
        Kind::Null => CowVal::Borrowed(&NULL),
        Kind::Bool => CowVal::Borrowed(if json == b"true" { &TRUE } else { &FALSE }),
        Kind::Number => number(json),
        Kind::String => match text(json) {
            Some(Cow::Borrowed(text)) => CowVal::owned(CelString::from(String::from_utf8_lossy(text))),
            Some(Cow::Owned(text)) => CowVal::owned(CelString::from(String::from_utf8_lossy(&text).into_owned())),
            None => CowVal::Borrowed(&NULL),
        },
        Kind::Array => {
            let mut elements: Vec<Box<dyn Val + 'v>> = Vec::new();
            for element in Elements::of(json) {
                let before = left.0.load(Ordering::Relaxed);
                if before == 0 {
                    break;
                }
                left.0.store(before - 1, Ordering::Relaxed);
                elements.push(value(element, left).into_owned());
            }
            CowVal::owned(CelList::from(elements))
        }
        Kind::Object => CowVal::owned(Object { json, left }),
    }
}

/// A whole number as `int`, else as `uint`, else (and every other number) as `double`.
fn number<'v>(json: &[u8]) -> CowVal<'v, 'v> {
    let text = std::str::from_utf8(json).unwrap_or_default();
    if let Ok(int) = text.parse::<i64>() {
        CowVal::owned(CelInt::from(int))
    } else if let Ok(uint) = text.parse::<u64>() {
        CowVal::owned(CelUInt::from(uint))
    } else {
        CowVal::owned(CelDouble::from(text.parse::<f64>().unwrap_or(f64::NAN)))
    }
}

/// A JSON object. It has members, a size and `in`; it is not gone through, and equal to nothing but its own text: the
/// library's own maps are of an order that chance decides.
#[derive(Clone, Debug)]
struct Object<'v> {
    json: &'v [u8],
    left: &'v Left,
}

impl<'v> Object<'v> {
    fn member(&self, name: &dyn Val) -> Result<Option<&'v [u8]>, ExecutionError> {
        let name = name.downcast_ref::<CelString>().ok_or_else(|| ExecutionError::no_such_key("not a text"))?;
        Ok(find(self.json, &[name.inner()]))
    }

    fn at(&self, name: &dyn Val) -> Result<CowVal<'v, 'v>, ExecutionError> {
        match self.member(name)? {
            Some(json) => Ok(value(json, self.left)),
            None => Err(ExecutionError::NoSuchKey(Arc::default())),
        }
    }
}

impl<'e> Val for Object<'e> {
    fn get_type(&self) -> &Type {
        &MAP_TYPE
    }

    fn cel_type() -> &'static Type {
        &MAP_TYPE
    }

    fn as_container(&self) -> Option<&dyn Container> {
        Some(self)
    }

    fn as_indexer<'b, 'v>(&'b self) -> Option<&'b (dyn Indexer + 'v)>
    where
        Self: 'v,
    {
        Some(self)
    }

    fn into_indexer<'v>(self: Box<Self>) -> Option<Box<dyn Indexer + 'v>>
    where
        Self: 'v,
    {
        Some(self)
    }

    fn as_sizer(&self) -> Option<&dyn Sizer> {
        Some(self)
    }

    fn clone_as_boxed<'v>(&self) -> Box<dyn Val + 'v>
    where
        Self: 'v,
    {
        Box::new(self.clone())
    }
}

impl Indexer for Object<'_> {
    fn get<'b, 'v>(&'b self, name: &dyn Val) -> Result<CowVal<'b, 'v>, ExecutionError>
    where
        Self: 'v,
    {
        Ok(CowVal::Owned(self.at(name)?.into_owned()))
    }

    fn steal<'v>(self: Box<Self>, name: &dyn Val) -> Result<Box<dyn Val + 'v>, ExecutionError>
    where
        Self: 'v,
    {
        Ok(self.at(name)?.into_owned())
    }
}

impl Container for Object<'_> {
    fn contains(&self, name: &dyn Val) -> Result<bool, ExecutionError> {
        Ok(self.member(name)?.is_some())
    }
}

impl Sizer for Object<'_> {
    fn size(&self) -> CelInt {
        CelInt::from(Members::of(self.json).count() as i64)
    }
}
