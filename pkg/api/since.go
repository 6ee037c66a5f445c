package api

import "reflect"

// Since is what has been counted since c was before. What is less now, because the kernel could not be asked, counts as nothing.
func (c *Counters) Since(before *Counters) Counters {
	var out Counters
	subtract(reflect.ValueOf(&out).Elem(), reflect.ValueOf(c).Elem(), reflect.ValueOf(before).Elem())
	return out
}

// subtract goes through structures of numbers.
func subtract(out, now, before reflect.Value) {
	less := func(a, b uint64) uint64 { return a - min(a, b) }
	switch {
	case now.Kind() == reflect.Struct:
		for i := range now.NumField() {
			subtract(out.Field(i), now.Field(i), before.Field(i))
		}
	case now.CanUint():
		out.SetUint(less(now.Uint(), before.Uint()))
	case now.Kind() == reflect.Map: // of numbers by cause
		out.Set(reflect.MakeMap(now.Type()))
		for _, key := range now.MapKeys() {
			had := uint64(0)
			if v := before.MapIndex(key); v.IsValid() {
				had = v.Uint()
			}
			if n := less(now.MapIndex(key).Uint(), had); n > 0 {
				out.SetMapIndex(key, reflect.ValueOf(n))
			}
		}
	}
}
