//! Writes what an ImageNet classifier sees of a photo as a PPM file: `prepare PHOTO OUT.ppm`.

use depthwise_vision::{Normalize, Picture, Preprocess};
use std::io::Write;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args_os().skip(1);
    let (Some(photo), Some(out)) = (args.next(), args.next()) else {
        return Err("usage: prepare PHOTO OUT.ppm".into());
    };
    let steps = Preprocess::classifier(224, Normalize::IMAGENET);
    let seen = steps.picture(&Picture::open(&photo)?)?;
    let mut file = std::fs::File::create(out)?;
    writeln!(file, "P6 {} {} 255", seen.width(), seen.height())?;
    file.write_all(seen.pixels())?;
    println!("{}: {steps}", photo.display());
    Ok(())
}
