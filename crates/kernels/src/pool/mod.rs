//! Average and maximum over windows.
