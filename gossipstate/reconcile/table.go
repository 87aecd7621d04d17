package reconcile

// table finds the numbers under which hashes stand in a list: open addressing with linear probing, at most three
// quarters full, 4 bytes a slot. Equal hashes may stand in it. The list is given with every call.
type table struct {
	slots []uint32 // number + 1; 0 is free. As many as a power of two
	used  int
	seed  uint64 // keeps places from peers, who know the hashes and could crowd them
}

// home is where the probing for hash begins.
func (t *table) home(hash uint64) int {
	w := walk{state: hash ^ t.seed}
	return int(w.random() & uint64(len(t.slots)-1))
}

func (t *table) after(slot int) int { return (slot + 1) & (len(t.slots) - 1) }

// insert adds number, where list has its hash.
func (t *table) insert(list []uint64, number uint32) {
	if 4*(t.used+1) > 3*len(t.slots) {
		t.grow(list)
	}
	t.place(list, number+1)
	t.used++
}

func (t *table) grow(list []uint64) {
	old := t.slots
	t.slots = make([]uint32, max(16, 2*len(old)))
	for _, v := range old {
		if v != 0 {
			t.place(list, v)
		}
	}
}

func (t *table) place(list []uint64, v uint32) {
	i := t.home(list[v-1])
	for t.slots[i] != 0 {
		i = t.after(i)
	}
	t.slots[i] = v
}

// find is a number of hash.
func (t *table) find(list []uint64, hash uint64) (number uint32, ok bool) {
	if t.used == 0 {
		return 0, false
	}
	for i := t.home(hash); t.slots[i] != 0; i = t.after(i) {
		if v := t.slots[i] - 1; list[v] == hash {
			return v, true
		}
	}
	return 0, false
}

// slotOf is where number stands. It must be in the table.
func (t *table) slotOf(list []uint64, number uint32) int {
	i := t.home(list[number])
	for t.slots[i] != number+1 {
		if t.slots[i] == 0 {
			panic("reconcile: number is not in the table")
		}
		i = t.after(i)
	}
	return i
}

// remove takes number out and moves what follows up, so that no probing ends early.
func (t *table) remove(list []uint64, number uint32) {
	free := t.slotOf(list, number)
	for i := t.after(free); t.slots[i] != 0; i = t.after(i) {
		// What stands at i may move to free unless its home lies cyclically behind free, up to i.
		fromHome := (i - t.home(list[t.slots[i]-1])) & (len(t.slots) - 1)
		if fromHome >= (i-free)&(len(t.slots)-1) {
			t.slots[free] = t.slots[i]
			free = i
		}
	}
	t.slots[free] = 0
	t.used--
}

// renumber gives what stands as number another one, of equal hash in list.
func (t *table) renumber(list []uint64, number, to uint32) {
	t.slots[t.slotOf(list, number)] = to + 1
}
