"""Line drawings for the page, 24 by 24, drawn in the current text colour."""

_HEAD = (
    '<svg viewBox="0 0 24 24" fill="none" stroke="currentColor" stroke-width="1.7" '
    'stroke-linecap="round" stroke-linejoin="round" aria-hidden="true">'
)

SUN = (
    f'{_HEAD}<circle cx="12" cy="12" r="4.2"/><path d="M12 2.5v2.2M12 19.3v2.2M2.5 12h2.2M19.3 12h2.2'
    'M5.3 5.3l1.5 1.5M17.2 17.2l1.5 1.5M5.3 18.7l1.5-1.5M17.2 6.8l1.5-1.5"/></svg>'
)
BATTERY = (
    f'{_HEAD}<rect x="6.5" y="5" width="11" height="16.5" rx="2.4"/><path d="M10 5V2.8h4V5"/>'
    '<path d="M12.8 9l-2.6 4.3h3.6L11.2 17.6"/></svg>'
)
HOME = f'{_HEAD}<path d="M3.5 11.2L12 4l8.5 7.2M5.8 9.6v10h12.4v-10M10 19.6v-5.2h4v5.2"/></svg>'
GRID = f'{_HEAD}<path d="M12 2.5v19M7 21.5L12 8l5 13.5M5.5 7.5h13M7.5 12h9M5.5 7.5v2M18.5 7.5v2M9 16.2h6"/></svg>'
NEIGHBOURS = (
    f'{_HEAD}<path d="M2.5 11L7.5 6.8l5 4.2M4 9.9v8.6h7V9.9M7.5 18.5v-3.6"/>'
    '<path d="M13.4 9.2l3.1-2.7 5 4.2M13.5 18.5H20v-8.6"/></svg>'
)
MARK = (
    f'{_HEAD}<path d="M12 3.5l7.5 6.3v9.7h-15V9.8z"/><circle cx="12" cy="13.4" r="2.1"/>'
    '<path d="M4.5 13.4h5.4M14.1 13.4h5.4M12 15.5v4"/></svg>'
)
WARNING = f'{_HEAD}<path d="M12 4L2.8 20h18.4zM12 10v4.6M12 17.2v.3"/></svg>'

FAVICON = (
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 24 24"><rect width="24" height="24" rx="6" fill="#12805c"/>'
    '<path d="M12 4.6l6.6 5.6v8.6H5.4v-8.6z" fill="none" stroke="#fff" stroke-width="1.7" stroke-linejoin="round"/>'
    '<circle cx="12" cy="13.6" r="2.2" fill="#ffd166"/></svg>'
)
