"""What the VFIO driver asks of the operating system, as far as it works without a card."""

import mmap
import os
import shutil
import struct
import subprocess

import pytest

from host.device import vfio_abi
from host.device.vfio_system import System

SMALL_PAGE = 4096


def test_memory_is_zero_aligned_and_given_back():
    memory = System().allocate(3 * SMALL_PAGE + 1, mmap.PAGESIZE)
    assert len(memory.view) == 4 * SMALL_PAGE
    assert memory.address % SMALL_PAGE == 0
    assert not any(memory.view)
    memory.view[5:8] = b"abc"
    memory.clear()
    assert not any(memory.view)
    with open("/proc/self/mem", "rb", buffering=0) as file:
        memory.view[7] = 99
        assert os.pread(file.fileno(), 1, memory.address + 7) == b"c"
    held = memory.view[:4]
    memory.close()
    assert held[0] == 0
    held.release()


def test_a_window_moves_words(tmp_path):
    path = tmp_path / "bar"
    path.write_bytes(bytes(3 * SMALL_PAGE))
    system = System()
    descriptor = system.open(path)
    window = system.map(descriptor, SMALL_PAGE, SMALL_PAGE)
    window.store(8, 0x01020304)
    assert window.load(8) == 0x01020304
    assert window.load(4) == window.load(12) == 0
    assert system.read(descriptor, 4, SMALL_PAGE + 8) == bytes((4, 3, 2, 1))
    system.write(descriptor, b"\1\0\0\0", SMALL_PAGE + 12)
    assert window.load(12) == 1
    window.close()
    system.close(descriptor)
    assert system.accessible(path)
    assert not system.accessible(tmp_path / "none")


def test_what_may_be_locked_is_a_number_or_without_limit():
    limit = System().lockable()
    assert limit is None or limit >= 0


HEADER = "/usr/include/linux/vfio.h"
QUESTIONS = r"""
#include <stddef.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <linux/vfio.h>
#define SAY(name, value) printf("%s %lu\n", name, (unsigned long)(value))
int main(void)
{
    SAY("API_VERSION", VFIO_API_VERSION); SAY("TYPE1V2_IOMMU", VFIO_TYPE1v2_IOMMU);
    SAY("GET_API_VERSION", VFIO_GET_API_VERSION); SAY("CHECK_EXTENSION", VFIO_CHECK_EXTENSION);
    SAY("SET_IOMMU", VFIO_SET_IOMMU); SAY("GROUP_GET_STATUS", VFIO_GROUP_GET_STATUS);
    SAY("GROUP_SET_CONTAINER", VFIO_GROUP_SET_CONTAINER); SAY("GROUP_GET_DEVICE_FD", VFIO_GROUP_GET_DEVICE_FD);
    SAY("DEVICE_GET_INFO", VFIO_DEVICE_GET_INFO); SAY("DEVICE_GET_REGION_INFO", VFIO_DEVICE_GET_REGION_INFO);
    SAY("DEVICE_RESET", VFIO_DEVICE_RESET); SAY("IOMMU_GET_INFO", VFIO_IOMMU_GET_INFO);
    SAY("IOMMU_MAP_DMA", VFIO_IOMMU_MAP_DMA); SAY("IOMMU_UNMAP_DMA", VFIO_IOMMU_UNMAP_DMA);
    SAY("GROUP_VIABLE", VFIO_GROUP_FLAGS_VIABLE); SAY("DEVICE_RESETS", VFIO_DEVICE_FLAGS_RESET);
    SAY("DEVICE_IS_PCI", VFIO_DEVICE_FLAGS_PCI); SAY("REGION_READ", VFIO_REGION_INFO_FLAG_READ);
    SAY("REGION_WRITE", VFIO_REGION_INFO_FLAG_WRITE); SAY("REGION_MMAP", VFIO_REGION_INFO_FLAG_MMAP);
    SAY("BAR0_REGION", VFIO_PCI_BAR0_REGION_INDEX); SAY("CONFIG_REGION", VFIO_PCI_CONFIG_REGION_INDEX);
    SAY("CAPABILITY_IOVA_RANGES", VFIO_IOMMU_TYPE1_INFO_CAP_IOVA_RANGE);
    SAY("DMA_READ", VFIO_DMA_MAP_FLAG_READ); SAY("DMA_WRITE", VFIO_DMA_MAP_FLAG_WRITE);
    SAY("IOMMU_HAS_CAPABILITIES", VFIO_IOMMU_INFO_CAPS);
#define FIELD(layout, place, type, field) SAY(layout " " #place, offsetof(struct type, field))
    FIELD("GROUP_STATUS", 1, vfio_group_status, flags);
    FIELD("DEVICE_INFO", 1, vfio_device_info, flags); FIELD("DEVICE_INFO", 3, vfio_device_info, num_irqs);
    FIELD("REGION_INFO", 1, vfio_region_info, flags); FIELD("REGION_INFO", 2, vfio_region_info, index);
    FIELD("REGION_INFO", 4, vfio_region_info, size); FIELD("REGION_INFO", 5, vfio_region_info, offset);
    FIELD("IOMMU_INFO", 1, vfio_iommu_type1_info, flags); FIELD("IOMMU_INFO", 3, vfio_iommu_type1_info, cap_offset);
    FIELD("CAPABILITY", 0, vfio_info_cap_header, id); FIELD("CAPABILITY", 2, vfio_info_cap_header, next);
    FIELD("RANGE", 0, vfio_iova_range, start); FIELD("RANGE", 1, vfio_iova_range, end);
    FIELD("DMA_MAP", 1, vfio_iommu_type1_dma_map, flags); FIELD("DMA_MAP", 2, vfio_iommu_type1_dma_map, vaddr);
    FIELD("DMA_MAP", 3, vfio_iommu_type1_dma_map, iova); FIELD("DMA_MAP", 4, vfio_iommu_type1_dma_map, size);
    FIELD("DMA_UNMAP", 1, vfio_iommu_type1_dma_unmap, flags);
    FIELD("DMA_UNMAP", 2, vfio_iommu_type1_dma_unmap, iova); FIELD("DMA_UNMAP", 3, vfio_iommu_type1_dma_unmap, size);
    SAY("ranges", offsetof(struct vfio_iommu_type1_info_cap_iova_range, iova_ranges));
    SAY("REGION_INFO size", sizeof(struct vfio_region_info));
    SAY("DMA_MAP size", sizeof(struct vfio_iommu_type1_dma_map));
    SAY("DMA_UNMAP size", sizeof(struct vfio_iommu_type1_dma_unmap));
    SAY("IOMMU_INFO size", sizeof(struct vfio_iommu_type1_info));
    SAY("HUGE", MAP_HUGETLB);
    return 0;
}
"""


@pytest.mark.skipif(shutil.which("cc") is None or not os.path.exists(HEADER), reason="no C compiler or kernel headers")
def test_layouts_and_numbers_are_those_of_the_kernels_header(tmp_path):
    source, program = tmp_path / "questions.c", tmp_path / "questions"
    source.write_text(QUESTIONS)
    subprocess.run(["cc", "-o", program, source], check=True)
    said = subprocess.run([program], check=True, capture_output=True, text=True).stdout
    numbers = {name: int(value) for name, _, value in (line.rpartition(" ") for line in said.splitlines())}
    assert numbers.pop("HUGE") == 0x40000
    assert numbers.pop("ranges") == vfio_abi.CAPABILITY.size + vfio_abi.RANGE_COUNT.size
    for name, value in numbers.items():
        what, _, place = name.partition(" ")
        ours = getattr(vfio_abi, what)
        if place == "size":
            assert ours.size == value, name
        elif place:
            assert offsets(ours)[int(place)] == value, name
        else:
            assert ours == value, name


def offsets(layout):
    """Return where the fields of a layout begin."""
    codes = [code for code in layout.format.lstrip("=") if code.isalpha() and code != "x"]
    return [struct.calcsize("=" + "".join(codes[:place])) for place in range(len(codes))]
