package wire

import (
	"fmt"
	"unicode/utf8"
)

// checkDigest enforces what every digest must satisfy on topic, whoever signed it.
func checkDigest(topic string, d *Digest) error {
	switch {
	case d.Generation == 0 || d.Version == 0:
		return fmt.Errorf("%w: digest with generation %d and version %d", ErrMalformed, d.Generation, d.Version)
	case d.Floor > d.Version:
		return fmt.Errorf("%w: floor %d above version %d", ErrMalformed, d.Floor, d.Version)
	case d.Status > Leaving:
		return fmt.Errorf("%w: status %d", ErrMalformed, d.Status)
	case d.Entries > MaxEntries:
		return fmt.Errorf("%w: %d entries, the limit is %d", ErrTooLarge, d.Entries, MaxEntries)
	case d.Bytes > MaxBytes:
		return fmt.Errorf("%w: state of %d bytes, the limit is %d", ErrTooLarge, d.Bytes, MaxBytes)
	case (d.Entries == 0) != (d.Root == Root{}):
		return fmt.Errorf("%w: %d entries under root %x", ErrMalformed, d.Entries, d.Root[:4])
	}
	return checkBeatFields(topic, d)
}

func checkBeatFields(topic string, d *Digest) error {
	if topic != Members {
		if d.BeatAnchor != (Anchor{}) || d.BeatT0 != 0 || d.BeatInterval != 0 || d.BeatLength != 0 {
			return fmt.Errorf("%w: beats on topic %q", ErrMalformed, topic)
		}
		return nil
	}
	switch {
	case d.BeatAnchor == Anchor{}:
		return fmt.Errorf("%w: no beat anchor", ErrMalformed)
	case d.BeatInterval < MinBeatInterval || d.BeatInterval > MaxBeatInterval:
		return fmt.Errorf("%w: beat interval %s is not between %s and %s", ErrMalformed, d.BeatInterval, MinBeatInterval, MaxBeatInterval)
	case d.BeatLength == 0 || d.BeatLength > MaxBeats:
		return fmt.Errorf("%w: chain of %d beats, the limit is %d", ErrMalformed, d.BeatLength, MaxBeats)
	}
	return nil
}

// checkUpdate enforces the order and limits of an update on top of those of its digest.
func checkUpdate(topic string, u *Update) error {
	if err := checkDigest(topic, &u.Digest); err != nil {
		return err
	}
	if u.Previous > u.Digest.Version {
		return fmt.Errorf("%w: previous %d above version %d", ErrMalformed, u.Previous, u.Digest.Version)
	}
	if len(u.Entries) > MaxEntries {
		return fmt.Errorf("%w: update of %d entries, the limit is %d", ErrTooLarge, len(u.Entries), MaxEntries)
	}
	if u.More && len(u.Entries) == 0 {
		return fmt.Errorf("%w: a part without entries", ErrMalformed)
	}
	for i := range u.Entries {
		e := &u.Entries[i]
		if err := e.Check(); err != nil {
			return err
		}
		if e.Version <= u.Previous || e.Version > u.Digest.Version {
			return fmt.Errorf("%w: entry at version %d in an update from %d to %d", ErrMalformed, e.Version, u.Previous, u.Digest.Version)
		}
		if e.Tombstone && e.Version <= u.Digest.Floor {
			return fmt.Errorf("%w: tombstone at version %d under a floor of %d", ErrMalformed, e.Version, u.Digest.Floor)
		}
		if i > 0 && u.Entries[i-1].Compare(e) >= 0 {
			return fmt.Errorf("%w: entries out of order", ErrMalformed)
		}
	}
	return nil
}

// Check enforces the rules and limits of one entry, as every receiver does. Errors wrap ErrMalformed or ErrTooLarge.
func (e *Entry) Check() error {
	switch {
	case e.Key == "":
		return fmt.Errorf("%w: empty key", ErrMalformed)
	case len(e.Key) > MaxKey:
		return fmt.Errorf("%w: key of %d bytes, the limit is %d", ErrTooLarge, len(e.Key), MaxKey)
	case !utf8.ValidString(e.Key):
		return fmt.Errorf("%w: key is not UTF-8", ErrMalformed)
	case len(e.Value) > MaxValue:
		return fmt.Errorf("%w: value of %d bytes, the limit is %d", ErrTooLarge, len(e.Value), MaxValue)
	case len(e.ContentType)+len(e.Ext) > MaxMeta:
		return fmt.Errorf("%w: content type and ext of %d bytes, the limit is %d", ErrTooLarge, len(e.ContentType)+len(e.Ext), MaxMeta)
	case !utf8.ValidString(e.ContentType):
		return fmt.Errorf("%w: content type is not UTF-8", ErrMalformed)
	case e.Version == 0 || e.Clock == 0:
		return fmt.Errorf("%w: entry with version %d and clock %d", ErrMalformed, e.Version, e.Clock)
	case e.Tombstone && len(e.Value) > 0:
		return fmt.Errorf("%w: tombstone with a value", ErrMalformed)
	}
	return nil
}
