"""What a user does to get a virtual camera, or to free one, on each operating system: the texts, in one
place."""

from realtime.devices.host import Host

OBS_CAMERA = "OBS Virtual Camera"  # the one camera of OBS, as pyvirtualcam names it
STOP_OBS = "stop the virtual camera in OBS"
JOIN_VIDEO_GROUP = "sudo usermod -aG video $USER, then log out and in again"
# exclusive_caps: browsers list no camera that is an output as well.
LOAD_LOOPBACK = "sudo modprobe v4l2loopback exclusive_caps=1 card_label=Puppet"
RELOAD_LOOPBACK = f"sudo modprobe -r v4l2loopback && {LOAD_LOOPBACK}"
# The command that installs v4l2loopback, by ID or ID_LIKE of /etc/os-release.
INSTALL_LOOPBACK = {
    "debian": "sudo apt install v4l2loopback-dkms",
    "arch": "sudo pacman -S v4l2loopback-dkms",
    "suse": "sudo zypper install v4l2loopback-kmp-default",
    "fedora": "sudo dnf install akmod-v4l2loopback",  # of RPM Fusion
}
# By platform.system().
GET_VIRTUAL_CAMERA = {
    "Linux": f"{INSTALL_LOOPBACK['debian']} && {LOAD_LOOPBACK}",
    "Darwin": "install OBS 30 or newer, start its virtual camera once, then stop it",
    "Windows": "install OBS (or Unity Capture)",
}


def install_loopback(host: Host) -> str:
    """The commands that install and load v4l2loopback on this distribution; Debian's where it is not
    known."""
    return f"{host.for_distribution(INSTALL_LOOPBACK, INSTALL_LOOPBACK['debian'])} && {LOAD_LOOPBACK}"
