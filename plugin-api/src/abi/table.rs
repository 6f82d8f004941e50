//! `table!`, around the definition of a table of the ABI, checks its layout.
//!
//! The macro leaves the definition as it is. It proves, when this crate is compiled, that the table has no padding on the
//! machine it is compiled for. So the layout follows from the order and the sizes of the fields alone, and an appended
//! field lies behind all others. A list of the fields, `FIELDS`, is for the test that compares them with `wsh.h`.

macro_rules! table {
    (
        $(#[$of_table:meta])*
        pub struct $table:ident {
            $($(#[$of_field:meta])* pub $field:ident: $type:ty,)*
        }
    ) => {
        $(#[$of_table])*
        pub struct $table {
            $($(#[$of_field])* pub $field: $type,)*
        }

        impl $table {
            /// The name and the offset of each field, in order.
            #[doc(hidden)]
            pub const FIELDS: &'static [(&'static str, usize)] =
                &[$((stringify!($field), std::mem::offset_of!($table, $field)),)*];
        }

        const _: () = {
            let mut end = 0;
            $(
                assert!(
                    std::mem::offset_of!($table, $field) == end,
                    concat!("`", stringify!($field), "` does not begin where the field before it ends")
                );
                end += size_of::<$type>();
            )*
            assert!(size_of::<$table>() == end, "the table ends in padding");
        };
    };
}

pub(super) use table;
